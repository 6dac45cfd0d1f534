package localcloud_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/airlock-secrets/airlock/localcloud"
)

// childDir names the variable that makes this test binary a local cloud on a folder, to be killed by the test below.
const childDir = "AIRLOCK_TEST_CLOUD_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		c, err := localcloud.Open(localcloud.Config{Dir: dir, Hermetic: true, Provision: provision()})
		if err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
		fmt.Println(c.ProxyURL())
		_, _ = io.Copy(io.Discard, os.Stdin) // until the parent is gone
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child is a local cloud in a process of its own.
type child struct {
	command *exec.Cmd
	client  *http.Client
}

func startChild(t *testing.T, dir string) *child {
	t.Helper()
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), childDir+"="+dir)
	if _, err := command.StdinPipe(); err != nil { // closed when this process ends, and with it the child
		t.Fatal(err)
	}
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	proxy, parsing := url.Parse(strings.TrimSpace(line))
	if err != nil || parsing != nil || proxy.Scheme != "http" {
		_ = command.Process.Kill()
		t.Fatalf("the child did not start: %q, %v", line, err)
	}
	roots := x509.NewCertPool()
	bundle, err := os.ReadFile(dir + "/ca.pem")
	if err != nil || !roots.AppendCertsFromPEM(bundle) {
		t.Fatalf("no certificate: %v", err)
	}
	return &child{command, &http.Client{Transport: &http.Transport{
		Proxy: http.ProxyURL(proxy), TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true,
	}}}
}

// kill ends the process as kill -9 does.
func (c *child) kill() {
	_ = c.command.Process.Kill()
	_ = c.command.Wait()
	c.client.CloseIdleConnections()
}

func (c *child) ask(method, address, token, body string) (int, []byte, error) {
	request, err := http.NewRequest(method, address, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := c.client.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = response.Body.Close() }()
	raw, err := io.ReadAll(response.Body)
	return response.StatusCode, raw, err
}

// written is a version that the cloud acknowledged.
type written struct{ id, value string }

// TestKilledInMidWrite kills the cloud again and again while it is being written to. Each version that it acknowledged
// must be there when it comes back, with its value.
func TestKilledInMidWrite(t *testing.T) {
	kills := 200
	if testing.Short() {
		kills = 20
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	chance := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()

	c := startChild(t, dir)
	defer func() { c.kill() }()
	response, err := c.client.PostForm("https://login.microsoftonline.com/"+tenant+"/oauth2/v2.0/token", url.Values{
		"client_id": {appID}, "client_secret": {appSecret}, "grant_type": {"client_credentials"}, "scope": {"https://vault.azure.net/.default"},
	})
	if err != nil {
		t.Fatal(err)
	}
	var token struct {
		Value string `json:"access_token"`
	}
	err = json.NewDecoder(response.Body).Decode(&token)
	_ = response.Body.Close()
	if err != nil || token.Value == "" {
		t.Fatalf("no token: %v", err)
	}

	check := func(all []written) {
		t.Helper()
		for _, w := range all {
			status, body, err := c.ask("GET", w.id+"?api-version=7.4", token.Value, "")
			var got struct{ Value string }
			if err != nil || status != 200 || json.Unmarshal(body, &got) != nil || got.Value != w.value {
				t.Fatalf("an acknowledged version is lost: %s: %d %v", w.id, status, err)
			}
		}
	}
	var all []written
	const writers = 3
	for n := range kills {
		var mu sync.Mutex
		var acknowledged []written
		var busy sync.WaitGroup
		for w := range writers {
			busy.Go(func() {
				for i := 0; ; i++ {
					value := fmt.Sprintf("%d-%d-%d", n, w, i)
					status, body, err := c.ask("PUT", fmt.Sprintf("%ssecrets/name-%d?api-version=7.4", vaultURL, w), token.Value, `{"value":"`+value+`"}`)
					if err != nil {
						return // killed
					}
					var answer struct{ ID string }
					if status != 200 || json.Unmarshal(body, &answer) != nil {
						t.Errorf("status %d", status)
						return
					}
					mu.Lock()
					acknowledged = append(acknowledged, written{answer.ID, value})
					mu.Unlock()
				}
			})
		}
		time.Sleep(time.Duration(chance.IntN(int(25 * time.Millisecond)))) // the moment is what is tried, so it is by chance
		c.kill()
		busy.Wait()
		c = startChild(t, dir)
		check(acknowledged)
		all = append(all, acknowledged...)
	}
	check(all)
	if len(all) < kills {
		t.Errorf("only %d writes were acknowledged in %d lives: the kills came too early to show anything", len(all), kills)
	}
	t.Logf("%d kills, %d acknowledged versions", kills, len(all))
}
