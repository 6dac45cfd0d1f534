package localcloud_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"

	"github.com/airlock-secrets/airlock/localcloud"
)

// exampleT is what an example has for the *testing.T of a test.
type exampleT struct {
	testing.TB
	cleanups []func()
}

func (t *exampleT) Helper()                           {}
func (t *exampleT) Cleanup(f func())                  { t.cleanups = append(t.cleanups, f) }
func (t *exampleT) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
func (t *exampleT) Errorf(format string, args ...any) { fmt.Printf(format+"\n", args...) }
func (t *exampleT) end() {
	for _, f := range t.cleanups {
		f()
	}
}

// A test of a program that reads a secret. Only the transport is not that of production: in a program of its own, Env
// does its work.
func ExampleStart() {
	t := new(exampleT) // the *testing.T of the test
	defer t.end()

	const tenant, app, secret = "72f988bf-86f1-41af-91ab-2d7cd011db47", "my-app", "my-app's secret"
	cloud := localcloud.Start(t, localcloud.Config{Hermetic: true, Provision: localcloud.Provision{
		Apps:   []localcloud.App{{TenantID: tenant, ClientID: app, ClientSecret: secret}},
		Vaults: []localcloud.Vault{{URL: "https://my-vault.vault.azure.net/"}},
	}})
	if err := cloud.SetSecrets("https://my-vault.vault.azure.net/", map[string]string{"greeting": "hello"}); err != nil {
		t.Fatalf("%v", err)
	}

	options := azcore.ClientOptions{Transport: cloud.HTTPClient()}
	credential, err := azidentity.NewClientSecretCredential(tenant, app, secret, &azidentity.ClientSecretCredentialOptions{ClientOptions: options})
	if err != nil {
		t.Fatalf("%v", err)
	}
	client, err := azsecrets.NewClient("https://my-vault.vault.azure.net/", credential, &azsecrets.ClientOptions{ClientOptions: options})
	if err != nil {
		t.Fatalf("%v", err)
	}
	answer, err := client.GetSecret(context.Background(), "greeting", "", nil)
	if err != nil {
		t.Fatalf("%v", err)
	}
	fmt.Println(*answer.Value)
	// Output: hello
}

// What a client does when it is throttled twice.
func ExampleCloud_SetFaults() {
	t := new(exampleT)
	defer t.end()
	cloud := localcloud.Start(t, localcloud.Config{Hermetic: true, Provision: localcloud.Provision{
		Tenants: []string{"72f988bf-86f1-41af-91ab-2d7cd011db47"},
		Vaults:  []localcloud.Vault{{URL: "https://my-vault.vault.azure.net/"}},
	}})
	throttled, err := localcloud.ParseFault("service=keyvault status=429 retry-after=1s times=2")
	if err != nil {
		t.Fatalf("%v", err)
	}
	if err := cloud.SetFaults(localcloud.Faults{Rules: []localcloud.Fault{throttled}}); err != nil {
		t.Fatalf("%v", err)
	}
	for range 3 {
		answer, err := cloud.HTTPClient().Get("https://my-vault.vault.azure.net/secrets/greeting?api-version=7.6")
		if err != nil {
			t.Fatalf("%v", err)
		}
		_ = answer.Body.Close()
		fmt.Println(answer.StatusCode, answer.Header.Get("Retry-After"))
	}
	// Output:
	// 429 1
	// 429 1
	// 401
}
