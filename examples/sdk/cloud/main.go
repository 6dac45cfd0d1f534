// Command cloud is a use of the package localcloud outside of tests: it starts a local cloud with one identity of each
// kind, and runs a command once for each kind of machine that a program may find itself on, with the environment that
// Azure gives to programs there.
//
// usage: go run ./examples/sdk/cloud COMMAND [ARGUMENT]...
//
// The command gets the name of the machine's kind as one more argument. The end is that of the first command that fails.
package main

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log"
	"maps"
	"math/big"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/airlock-secrets/airlock/localcloud"
)

const (
	tenant   = "5dbd1f3c-5d7e-4d0b-9a58-2f6c1a9e0c11"
	vaultURL = "https://airlock-walk.vault.azure.net/"
	subject  = "system:serviceaccount:walk:walker" // what the pod's token says
)

// Who there is. The ids only have to differ.
var (
	app = localcloud.App{
		TenantID: tenant, ClientID: "7a1f0001-5d7e-4d0b-9a58-2f6c1a9e0c11", ClientSecret: rand.Text(),
		Federated: []localcloud.FederatedCredential{{Subject: subject}},
	}
	system = localcloud.ManagedIdentity{
		TenantID: tenant, ClientID: "7a1f0002-5d7e-4d0b-9a58-2f6c1a9e0c11", SystemAssigned: true,
	}
	user = localcloud.ManagedIdentity{
		TenantID: tenant, ClientID: "7a1f0003-5d7e-4d0b-9a58-2f6c1a9e0c11", ObjectID: "7a1f0004-5d7e-4d0b-9a58-2f6c1a9e0c11",
		ResourceID: "/subscriptions/7a1f0005-5d7e-4d0b-9a58-2f6c1a9e0c11/resourcegroups/walk/providers/" +
			"Microsoft.ManagedIdentity/userAssignedIdentities/walker",
	}
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("cloud: ")
	signal.Notify(make(chan os.Signal, 1), os.Interrupt) // Ctrl-C reaches the command too, and its end is ours
	if len(os.Args) < 2 {
		log.Fatal("usage: go run ./examples/sdk/cloud COMMAND [ARGUMENT]...")
	}
	err := run(os.Args[1:])
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		os.Exit(exit.ExitCode()) // the command has said why
	}
	if err != nil {
		log.Fatal(err)
	}
}

func run(command []string) error {
	dir, err := os.MkdirTemp("", "airlock-walk-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	certificateFile := filepath.Join(dir, "app.pem")
	certificate, err := newCertificate(certificateFile)
	if err != nil {
		return err
	}
	app.Certificates = []*x509.Certificate{certificate}

	cloud, err := localcloud.Open(localcloud.Config{Hermetic: true, Provision: localcloud.Provision{
		Apps:       []localcloud.App{app},
		Identities: []localcloud.ManagedIdentity{system, user},
		Vaults:     []localcloud.Vault{{URL: vaultURL}},
	}})
	if err != nil {
		return err
	}
	defer cloud.Close()

	everywhere := cloud.Env()
	everywhere["AIRLOCK_VAULT_URL"] = vaultURL
	options, err := cloud.JavaOptions()
	if err != nil {
		return err
	}
	everywhere["JAVA_TOOL_OPTIONS"] = strings.Join(options, " ")
	machines, err := machines(cloud, dir, certificateFile)
	if err != nil {
		return err
	}
	for _, m := range machines {
		cloud.ForgetRequests()
		cmd := exec.Command(command[0], append(slices.Clone(command[1:]), m.kind)...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		cmd.Env = environment(everywhere, m.env)
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%s: %w", m.kind, err)
		}
		fmt.Printf("     %s: the local cloud answered %s\n", m.kind, count(cloud.Requests()))
	}
	return nil
}

// machine is a place for programs, with the environment that Azure gives them there.
type machine struct {
	kind string
	env  map[string]string
}

func machines(cloud *localcloud.Cloud, dir, certificateFile string) ([]machine, error) {
	pod, err := cloud.WorkloadIdentity(tenant, app.ClientID, subject, filepath.Join(dir, "token"))
	if err != nil {
		return nil, err
	}
	// Not Azure's: who there is, so that a program can tell whether it is signed in as whom it should be.
	identities := map[string]string{
		"WALK_SYSTEM_CLIENT_ID": system.ClientID, "WALK_USER_CLIENT_ID": user.ClientID,
		"WALK_USER_OBJECT_ID": user.ObjectID, "WALK_USER_RESOURCE_ID": user.ResourceID,
	}
	// Nothing in its environment tells a program that it is on a virtual machine.
	vm := maps.Clone(identities)
	vm["WALK_DEFAULT_CLIENT_ID"] = system.ClientID
	appService := maps.Clone(identities)
	appService["IDENTITY_ENDPOINT"], appService["IDENTITY_HEADER"] = cloud.IdentityEndpoint()
	appService["AZURE_CLIENT_ID"] = user.ClientID // chooses among several identities
	appService["WALK_DEFAULT_CLIENT_ID"] = user.ClientID
	return []machine{
		{"app", map[string]string{
			"AZURE_TENANT_ID": tenant, "AZURE_CLIENT_ID": app.ClientID, "AZURE_CLIENT_SECRET": app.ClientSecret,
		}},
		{"certificate", map[string]string{
			"AZURE_TENANT_ID": tenant, "AZURE_CLIENT_ID": app.ClientID, "AZURE_CLIENT_CERTIFICATE_PATH": certificateFile,
		}},
		{"pod", pod},
		{"vm", vm},
		{"app-service", appService},
	}, nil
}

// environment is this process's own without what could sign in elsewhere, with the layers over it.
func environment(layers ...map[string]string) []string {
	env := slices.DeleteFunc(os.Environ(), func(pair string) bool {
		return slices.ContainsFunc([]string{"AZURE_", "IDENTITY_", "IMDS_", "MSI_", "WALK_"}, func(prefix string) bool {
			return strings.HasPrefix(pair, prefix)
		})
	})
	for _, layer := range layers {
		for key, value := range layer {
			env = append(env, key+"="+value) // the last one counts
		}
	}
	return env
}

// newCertificate makes a key and a certificate of its own for an app, and writes both to one file, private.
func newCertificate(file string) (*x509.Certificate, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "walk"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	both := append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	if err := os.WriteFile(file, both, 0o600); err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// count says how many requests each service answered.
func count(requests []localcloud.Request) string {
	answered := map[string]int{}
	for _, r := range requests {
		answered[r.Service]++
	}
	var said []string
	for _, service := range slices.Sorted(maps.Keys(answered)) {
		said = append(said, fmt.Sprintf("%d requests to %s", answered[service], service))
	}
	return strings.Join(said, ", ")
}
