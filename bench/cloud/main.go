// Command cloud measures the local cloud as `airlock dev` runs it: from the start of the process to the first secret read,
// requests a second, and resident memory, with few and many secrets in its database. It prints JSON.
package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

func main() {
	log.SetFlags(0)
	airlock := flag.String("airlock", "bin/airlock", "the program")
	starts := flag.Int("starts", 5, "starts to measure for each number of secrets")
	length := flag.Duration("for", 2*time.Second, "length of a measurement")
	connections := flag.Int("connections", 8, "kept connections, each with one request at a time")
	flag.Parse()
	path, err := filepath.Abs(*airlock)
	if err != nil {
		log.Fatal(err)
	}
	var all []result
	for _, secrets := range []int{1, 1000, 25_000} {
		r, err := run(path, secrets, *starts, *connections, *length)
		if err != nil {
			log.Fatalf("cloud: with %d secrets: %v", secrets, err)
		}
		all = append(all, r)
	}
	if err := json.NewEncoder(os.Stdout).Encode(all); err != nil {
		log.Fatal(err)
	}
}

type result struct {
	Secrets   int       `json:"secrets"`
	FirstRead []float64 `json:"first_read"` // seconds from the start of the process
	Gets      float64   `json:"gets"`       // a second
	Sets      float64   `json:"sets"`       // a second, each on disk when it is answered
	Resident  float64   `json:"resident"`   // MiB, after the first read
	Loaded    float64   `json:"loaded"`     // MiB, after gets and sets
}

func run(airlock string, secrets, starts, connections int, length time.Duration) (result, error) {
	dir, err := os.MkdirTemp("", "airlock")
	if err != nil {
		return result{}, err
	}
	defer os.RemoveAll(dir)
	values := map[string]string{}
	for i := range secrets {
		values["name-"+strconv.Itoa(i)] = strings.Repeat("x", 100)
	}
	raw, err := json.Marshal(values)
	if err != nil {
		return result{}, err
	}
	if err := os.WriteFile(filepath.Join(dir, "seed.json"), raw, 0o600); err != nil {
		return result{}, err
	}
	d, err := start(airlock, dir, "--seed", "seed.json")
	if err != nil {
		return result{}, err
	}
	d.stop()
	r := result{Secrets: secrets}
	for range starts {
		if d != nil {
			d.stop()
		}
		begun := time.Now()
		if d, err = start(airlock, dir); err != nil {
			return r, err
		}
		if err := d.signIn(); err != nil {
			return r, err
		}
		if err := d.exchange(http.MethodGet, "/secrets/airflow-variables-name-0", nil); err != nil {
			return r, err
		}
		r.FirstRead = append(r.FirstRead, time.Since(begun).Seconds())
	}
	defer d.stop()
	r.Resident = d.resident()
	if r.Gets, err = d.measure(connections, length, func(i int64) error {
		return d.exchange(http.MethodGet, "/secrets/airflow-variables-name-"+strconv.FormatInt(i%int64(secrets), 10), nil)
	}); err != nil {
		return r, err
	}
	body := []byte(`{"value":"` + strings.Repeat("y", 100) + `"}`)
	if r.Sets, err = d.measure(connections, length, func(i int64) error {
		return d.exchange(http.MethodPut, "/secrets/set-"+strconv.FormatInt(i%1000, 10), body)
	}); err != nil {
		return r, err
	}
	r.Loaded = d.resident()
	return r, nil
}

// dev is a running `airlock dev`.
type dev struct {
	process *exec.Cmd
	env     map[string]string
	client  *http.Client
	token   string
}

func start(airlock, dir string, more ...string) (*dev, error) {
	state := filepath.Join(dir, ".airlock", "dev.json")
	d := &dev{process: exec.Command(airlock, append([]string{"dev"}, more...)...)}
	d.process.Dir = dir
	d.process.Env = append(os.Environ(), "AIRLOCK_RUNTIME_DIR="+filepath.Join(dir, "run"))
	d.process.Stderr = os.Stderr
	if err := d.process.Start(); err != nil {
		return nil, err
	}
	for begun := time.Now(); ; time.Sleep(time.Millisecond) {
		raw, err := os.ReadFile(state)
		var read struct {
			Env map[string]string `json:"env"`
		}
		if err == nil && json.Unmarshal(raw, &read) == nil {
			d.env = read.Env
			break
		}
		if time.Since(begun) > time.Minute {
			d.stop()
			return nil, errors.New("airlock dev does not start")
		}
	}
	proxy, err := url.Parse(d.env["HTTPS_PROXY"])
	if err != nil {
		return nil, err
	}
	pem, err := os.ReadFile(d.env["NODE_EXTRA_CA_CERTS"])
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	d.client = &http.Client{Transport: &http.Transport{
		Proxy: http.ProxyURL(proxy), TLSClientConfig: &tls.Config{RootCAs: pool}, MaxIdleConnsPerHost: 64,
	}}
	return d, nil
}

func (d *dev) stop() {
	_ = d.process.Process.Signal(os.Interrupt)
	_ = d.process.Wait()
}

func (d *dev) signIn() error {
	response, err := d.client.PostForm("https://login.microsoftonline.com/"+d.env["AZURE_TENANT_ID"]+"/oauth2/v2.0/token", url.Values{
		"grant_type": {"client_credentials"}, "scope": {"https://vault.azure.net/.default"},
		"client_id": {d.env["AZURE_CLIENT_ID"]}, "client_secret": {d.env["AZURE_CLIENT_SECRET"]},
	})
	if err != nil {
		return err
	}
	defer response.Body.Close()
	var answer struct {
		Token string `json:"access_token"`
	}
	err = json.NewDecoder(response.Body).Decode(&answer)
	d.token = answer.Token
	return err
}

func (d *dev) exchange(method, path string, body []byte) error {
	request, err := http.NewRequest(method, strings.TrimSuffix(d.env["AIRLOCK_VAULT_URL"], "/")+path+"?api-version=7.6", bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+d.token)
	request.Header.Set("Content-Type", "application/json")
	response, err := d.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s", method, path, response.Status)
	}
	return nil
}

func (d *dev) measure(connections int, length time.Duration, one func(i int64) error) (float64, error) {
	var next, done atomic.Int64
	var wait sync.WaitGroup
	failed := make(chan error, connections)
	end := time.Now().Add(length)
	for range connections {
		wait.Go(func() {
			for time.Now().Before(end) {
				if err := one(next.Add(1)); err != nil {
					failed <- err
					return
				}
				done.Add(1)
			}
		})
	}
	wait.Wait()
	select {
	case err := <-failed:
		return 0, err
	default:
		return float64(done.Load()) / length.Seconds(), nil
	}
}

// resident is the process's memory in MiB, where the kernel tells; 0 elsewhere.
func (d *dev) resident() float64 {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.process.Process.Pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(raw), "VmRSS:")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	kib, _ := strconv.ParseFloat(fields[0], 64)
	return kib / 1024
}
