// Command go walks through Azure Key Vault with Microsoft's Go SDK as it comes: default options, and no mention of
// Airlock but the vault's URL. ../README.md says what each step is.
package main

import (
	"context"
	"fmt"
	"log"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"
)

// places are the kinds of machines that a program may find itself on, told from one another by the environment.
var places = map[string]func(context.Context, *walk) error{
	"app": func(ctx context.Context, w *walk) error {
		if err := signInBySecret(ctx, w); err != nil {
			return err
		}
		credential, err := byDefault()
		if err != nil {
			return err
		}
		client, err := azsecrets.NewClient(w.vaultURL, credential, nil)
		if err != nil {
			return err
		}
		return secrets(ctx, w, client)
	},
	"certificate": signInByCertificate,
	"pod":         signInInPod,
	"vm":          signInByManagedIdentity("Identity not found"),
	"app-service": signInByManagedIdentity("No User Assigned or Delegated Managed Identity found"),
}

func main() {
	log.SetFlags(0)
	if len(os.Args) != 2 || places[os.Args[1]] == nil || os.Getenv("AIRLOCK_VAULT_URL") == "" {
		log.Fatal("usage: AIRLOCK_VAULT_URL=https://VAULT.vault.azure.net/ go run ./examples/sdk/go " +
			strings.Join(slices.Sorted(maps.Keys(places)), "|"))
	}
	w := &walk{vaultURL: os.Getenv("AIRLOCK_VAULT_URL")}
	if err := places[os.Args[1]](context.Background(), w); err != nil {
		log.Fatalf("FAIL %v", err)
	}
	fmt.Printf("%d steps passed\n", w.passed)
}

// walk tells each step when it is done.
type walk struct {
	vaultURL string
	passed   int
}

// step does one step of the walk. Its error names the step.
func (w *walk) step(name string, do func() error) error {
	if err := do(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	w.passed++
	fmt.Println("ok  " + name)
	return nil
}

// lacks says that the SDK has nothing for a step.
func (w *walk) lacks(name, why string) { fmt.Printf("--  %s: %s\n", name, why) }

// differ returns an error that names what is not as it should be, and never how it is: it may be a secret.
func differ(asItShould ...fact) error {
	for _, f := range asItShould {
		if !f.holds {
			return fmt.Errorf("not as it should be: %s", f.what)
		}
	}
	return nil
}

type fact struct {
	what  string
	holds bool
}

// value is what a pointer of the SDK points to, or the zero value.
func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
