package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/airlock-secrets/airlock/internal/agent"
	"github.com/airlock-secrets/airlock/internal/agentapi"
	"github.com/airlock-secrets/airlock/internal/airflow"
	"github.com/airlock-secrets/airlock/internal/config"
	"github.com/airlock-secrets/airlock/internal/keyvault"
	"github.com/airlock-secrets/airlock/internal/secret"
)

// TestStampede: a hundred agents start in one instant in front of one vault, and each reads ahead all that it has. They are
// the real ones, from the daemon to the Azure SDK; the vault is a model of Key Vault's limit, and time is the bubble's. The
// rows with refusals show that the model refuses, and that share and spread are what keeps the others from it.
func TestStampede(t *testing.T) {
	const agents = 100
	for _, row := range []struct {
		name    string
		secrets int
		share   float64
		spread  time.Duration
		asking  int  // times five seconds that tasks ask
		refused bool // some requests are
	}{
		{"a share of 1/N, however much they read", 100, 1. / agents, 0, 14, false},
		{"the usual share, spread", 60, 0.25, prefetchSpread, 8, false},
		{"the usual share, and no spread", 60, 0.25, 0, 2, true},
		{"the usual share, and too much for it", 200, 0.25, prefetchSpread, 6, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				vault := &limitedVault{secrets: row.secrets}
				c := config.Config{
					Kwargs: airflow.DefaultKwargs(), CacheTTL: time.Hour, NegativeTTL: time.Minute, MaxStale: 12 * time.Hour,
					ListInterval: 30 * time.Second, Prefetch: true,
				}
				ctx, stop := context.WithCancel(t.Context())
				var running sync.WaitGroup
				all := make([]*agent.Agent, agents)
				for i := range all {
					client, err := keyvault.New(keyvault.Config{
						VaultURL: "https://" + limitedHost, TenantID: limitedTenant, ClientID: "app", ClientSecret: secret.FromString("s"),
						HTTPClient: &http.Client{Transport: vault}, Share: row.share,
					})
					if err != nil {
						t.Fatal(err)
					}
					made := agentOf(client, c, agent.Config{PrefetchSpread: row.spread})
					all[i] = made
					running.Go(func() {
						if err := agent.NewDaemon(agent.DaemonConfig{Plan: agent.Alone(made)}).Serve(ctx, newSilent()); err != nil {
							t.Error(err)
						}
					})
				}
				// Tasks ask all the while. Where nothing is refused, each has its answer, and soon.
				failed, slowest := 0, time.Duration(0)
				for range row.asking {
					time.Sleep(5 * time.Second)
					begun := time.Now()
					l := agentapi.Lookup{Kind: airflow.Variable, ID: vaultID(rand.N(row.secrets))}
					if _, err := all[rand.N(agents)].Lookup(ctx, l); err != nil {
						failed++
					}
					slowest = max(slowest, time.Since(begun))
				}
				least := row.secrets
				for _, a := range all {
					least = min(least, int(a.Status().VaultRequests))
				}
				stop()
				running.Wait()
				time.Sleep(2 * fetchTime) // for what is under way: a flight does not end with those who wait for it
				vault.mu.Lock()           // the wait ends the flights, and only the lock makes what they wrote ours to read
				defer vault.mu.Unlock()
				t.Logf("%d requests, at most %d in ten seconds, %d refused; the least that an agent read: %d; %d lookups failed, slowest %v",
					vault.served, vault.most, vault.refused, least, failed, slowest)
				switch {
				case (vault.refused > 0) != row.refused:
					t.Errorf("%d requests refused, most in ten seconds %d", vault.refused, vault.most)
				case row.refused:
				case failed > 0 || slowest > 5*time.Second:
					t.Errorf("%d lookups failed, the slowest took %v", failed, slowest)
				case least < row.secrets:
					t.Errorf("an agent read %d secrets of %d", least, row.secrets)
				}
			})
		})
	}
}

const (
	limitedHost   = "team.vault.azure.net"
	limitedTenant = "6f1d1b6c-0f34-4b7e-9d8f-6a1f3c2b5e01"
)

func vaultID(i int) string { return fmt.Sprintf("key_%04d", i) }

// limitedVault is a vault and its login behind an http.RoundTripper: 20 ms away, with the limit that Key Vault documents:
// 4,000 requests in any ten seconds, and those that it refuses do not count
// (https://learn.microsoft.com/azure/key-vault/general/service-limits).
type limitedVault struct {
	secrets int

	mu                    sync.Mutex
	recent                []time.Time // requests of the last ten seconds
	served, refused, most int
}

func (v *limitedVault) RoundTrip(r *http.Request) (*http.Response, error) {
	time.Sleep(20 * time.Millisecond)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	status, header, body := http.StatusOK, http.Header{"Content-Type": {"application/json"}, "Date": {time.Now().UTC().Format(http.TimeFormat)}}, any(nil)
	switch {
	case r.URL.Host != limitedHost:
		body = v.login(r)
	case !v.admit():
		status, body = http.StatusTooManyRequests, map[string]any{"error": map[string]string{"code": "Throttled", "message": "too many"}}
	case r.Header.Get("Authorization") == "":
		status = http.StatusUnauthorized
		header.Set("WWW-Authenticate", `Bearer authorization="https://login.microsoftonline.com/`+limitedTenant+`", resource="https://vault.azure.net"`)
	default:
		body = v.answer(r)
	}
	raw, err := json.Marshal(body)
	return &http.Response{
		Status: http.StatusText(status), StatusCode: status, Header: header, Request: r, ProtoMajor: 1, ProtoMinor: 1,
		Body: io.NopCloser(strings.NewReader(string(raw))), ContentLength: int64(len(raw)),
	}, err
}

func (v *limitedVault) admit() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := time.Now()
	over := 0
	for over < len(v.recent) && now.Sub(v.recent[over]) >= 10*time.Second {
		over++
	}
	v.recent = slices.Delete(v.recent, 0, over)
	if len(v.recent) >= 4000 {
		v.refused++
		return false
	}
	v.recent = append(v.recent, now)
	v.served++
	v.most = max(v.most, len(v.recent))
	return true
}

func (v *limitedVault) login(r *http.Request) any {
	base := "https://" + r.URL.Host + "/" + limitedTenant
	if r.Method == http.MethodPost {
		return map[string]any{"token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599, "access_token": "token"}
	}
	return map[string]string{
		"issuer": base + "/v2.0", "authorization_endpoint": base + "/oauth2/v2.0/authorize",
		"token_endpoint": base + "/oauth2/v2.0/token", "jwks_uri": base + "/discovery/v2.0/keys",
	}
}

func (v *limitedVault) answer(r *http.Request) any {
	item := func(name string) map[string]any {
		return map[string]any{
			"id": "https://" + limitedHost + "/secrets/" + name, "attributes": map[string]any{"enabled": true, "created": 1, "updated": 1},
		}
	}
	if name := strings.Trim(strings.TrimPrefix(r.URL.Path, "/secrets"), "/"); name != "" {
		secret := item(name)
		secret["value"] = "x"
		return secret
	}
	from, _ := strconv.Atoi(r.URL.Query().Get("$skiptoken"))
	page := map[string]any{}
	var items []map[string]any
	for i := from; i < min(from+25, v.secrets); i++ {
		items = append(items, item("airflow-variables-"+strings.ReplaceAll(vaultID(i), "_", "-")))
	}
	page["value"] = items
	if from+25 < v.secrets {
		page["nextLink"] = fmt.Sprintf("https://%s/secrets?api-version=7.6&$skiptoken=%d", limitedHost, from+25)
	}
	return page
}

// silent is the socket of an agent that nobody connects to: the tasks of this test ask it in its own process.
type silent struct {
	closed chan struct{}
	once   sync.Once
}

func newSilent() *silent                    { return &silent{closed: make(chan struct{})} }
func (l *silent) Accept() (net.Conn, error) { <-l.closed; return nil, net.ErrClosed }
func (l *silent) Close() error              { l.once.Do(func() { close(l.closed) }); return nil }
func (l *silent) Addr() net.Addr            { return &net.UnixAddr{} }
func (l *silent) Present() bool             { return true }
func (l *silent) Restore() error            { return errors.New("there is no socket") }
