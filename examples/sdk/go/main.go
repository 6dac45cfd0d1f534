// Command go reads one secret with Microsoft's Go SDK, as its documentation shows it: nothing here knows of Airlock.
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 2 {
		log.Fatal("usage: AIRLOCK_VAULT_URL=https://VAULT.vault.azure.net/ go run ./examples/sdk/go NAME")
	}
	if err := read(context.Background(), os.Getenv("AIRLOCK_VAULT_URL"), os.Args[1]); err != nil {
		log.Fatal(err)
	}
}

func read(ctx context.Context, vaultURL, name string) error {
	cred, err := azidentity.NewDefaultAzureCredential(nil)
	if err != nil {
		return err
	}
	client, err := azsecrets.NewClient(vaultURL, cred, nil)
	if err != nil {
		return err
	}
	secret, err := client.GetSecret(ctx, name, "", nil)
	if err != nil {
		return err
	}
	fmt.Printf("read %s: %d bytes, version %s\n", secret.ID.Name(), len(*secret.Value), secret.ID.Version())
	return nil
}
