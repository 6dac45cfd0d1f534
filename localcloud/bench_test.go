package localcloud_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/airlock-secrets/airlock/localcloud"
)

// BenchmarkFirstRead is what a test or a developer waits for: from nothing to the first secret read. The key that signs
// tokens is made once for a process, or found in the folder.
func BenchmarkFirstRead(b *testing.B) {
	for name, dir := range map[string]string{"memory": "", "file": b.TempDir()} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				c, err := localcloud.Open(localcloud.Config{Dir: dir, Hermetic: true, Provision: provision()})
				if err != nil {
					b.Fatal(err)
				}
				if err := c.SetSecrets(vaultURL, map[string]string{"a": "value"}); err != nil {
					b.Fatal(err)
				}
				get(b, secretsClient(b, c, vaultURL, clientSecret(b, c, appSecret)), "a", "")
				b.StopTimer()
				if err := c.Close(); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
}

// BenchmarkRequests is the rate of gets and sets over TLS through the proxy, by several clients at once, beside a number
// of secrets that are there already.
func BenchmarkRequests(b *testing.B) {
	for _, secrets := range []int{1, 1000, 25000} {
		for _, kind := range []string{"memory", "file"} {
			dir := ""
			if kind == "file" {
				dir = b.TempDir()
			}
			c := localcloud.Start(b, localcloud.Config{Dir: dir, Hermetic: true, Provision: provision()})
			seed := map[string]string{}
			for n := range secrets {
				seed[fmt.Sprintf("name-%05d", n)] = strings.Repeat("x", 100)
			}
			if err := c.SetSecrets(vaultURL, seed); err != nil {
				b.Fatal(err)
			}
			token, err := clientSecret(b, c, appSecret).GetToken(b.Context(), policyFor("https://vault.azure.net"))
			if err != nil {
				b.Fatal(err)
			}
			do := func(b *testing.B, method, body string) {
				b.RunParallel(func(run *testing.PB) {
					for run.Next() {
						request, _ := http.NewRequest(method, vaultURL+"secrets/name-00000?api-version=7.6", strings.NewReader(body))
						request.Header.Set("Authorization", "Bearer "+token.Token)
						response, err := c.HTTPClient().Do(request)
						if err != nil {
							b.Error(err)
							return
						}
						_, _ = io.Copy(io.Discard, response.Body)
						_ = response.Body.Close()
						if response.StatusCode != http.StatusOK {
							b.Errorf("status %d", response.StatusCode)
						}
					}
				})
			}
			b.Run(fmt.Sprintf("get/%s/%d", kind, secrets), func(b *testing.B) { do(b, "GET", "") })
			b.Run(fmt.Sprintf("set/%s/%d", kind, secrets), func(b *testing.B) { do(b, "PUT", `{"value":"new"}`) })
		}
	}
}
