package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/airlock-secrets/airlock/internal/agent"
	"github.com/airlock-secrets/airlock/internal/config"
	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/socket"
	"github.com/airlock-secrets/airlock/localcloud"
)

type devFlags struct {
	data      string
	ephemeral bool
	seeds     []string
	listen    string
	beyond    bool
	direct    string
	hermetic  bool
	vaults    []string
	anyVault  bool
	provision []string
	pass      []string
	github    []string
}

func (f *devFlags) add(c *cobra.Command) {
	flags := c.Flags()
	flags.StringVar(&f.data, "data", devDir, "folder of the local cloud's database")
	flags.BoolVar(&f.ephemeral, "ephemeral", false, "keep everything in memory")
	flags.StringArrayVar(&f.seeds, "seed", nil, "file with connections and variables to put into the vault; may be repeated")
	flags.StringVar(&f.listen, "listen", "127.0.0.1:0", "the proxy's address")
	flags.BoolVar(&f.beyond, "listen-beyond-loopback", false, "let --listen and --direct be addresses that other machines reach")
	flags.StringVar(&f.direct, "direct", "127.0.0.1:0", "the address that serves https://NAME.vault.localhost:PORT, for clients without a proxy")
	flags.StringArrayVar(&f.vaults, "vault", nil, "one more vault, by name or URL; may be repeated")
	flags.BoolVar(&f.anyVault, "any-vault", false, "make a vault for each name that is asked for")
	flags.StringArrayVar(&f.provision, "provision", nil, "YAML or JSON file of tenants, apps, identities, vaults, permissions, Deployments and repositories; may be repeated")
	flags.StringArrayVar(&f.github, "github", nil, "OWNER/NAME of a repository, whose Actions secrets are here instead of at GitHub; may be repeated")
	flags.StringArrayVar(&f.pass, "pass", nil, "emulated host to tunnel to the real one instead, such as api.astronomer.io; may be repeated")
	flags.BoolVar(&f.hermetic, "hermetic", false, "refuse hosts that are not emulated, instead of tunnelling to them")
	c.MarkFlagsMutuallyExclusive("data", "ephemeral")
}

func (a *app) devCommand() *cobra.Command {
	var f devFlags
	c := &cobra.Command{
		Use:   "dev",
		Short: "Run a local Key Vault, Entra ID and managed identity, and an agent, until Ctrl-C",
		Long: `Run a local cloud: Key Vault, Entra ID and managed identity on loopback, and an agent in front of the vault. It has an
Astro API with the Deployments "development" and "production" for airlock push, and with --github the Actions secrets of a
repository for airlock seal.

What the folder's .env names (vault URL, tenant, client id and secret, managed identity) is provisioned, so that a
production .env works word for word. Without one, dev makes up a tenant, an app, an identity and the vault
` + defaultVault + `. Unmodified Azure SDKs use it inside airlock dev run.

A seed is airflow_settings.yaml, a file that airflow connections export or airflow variables export wrote, or a .env
with AIRFLOW_CONN_* and AIRFLOW_VAR_*.`,
		Example: `  airlock dev --seed airflow_settings.yaml
  airlock dev run -- airflow dags test my_dag`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			d, err := a.startDev(f)
			if err != nil {
				return err
			}
			a.banner(d)
			err = d.wait(a.env.Context)
			if a.env.StdoutTerminal {
				fmt.Fprintln(a.env.Stdout, "\nairlock dev has stopped")
			}
			return err
		},
	}
	f.add(c)
	c.AddCommand(a.devRunCommand(), a.devEnvCommand(), a.devFaultsCommand(), a.devClockCommand(), a.devRequestsCommand(),
		a.devProvisionCommand(), a.devTokenCommand(), a.devTrustCommand(), a.devComposeCommand())
	return c
}

// devRun is a running dev: the cloud, the agent in front of it, and the folder that is theirs.
type devRun struct {
	plan   devPlan
	state  devState
	seeded int
	direct string // the vault's URL without the proxy
	data   string // "" is memory
	github []string
	stop   func() // stops the agent
	ended  chan error
	close  []func()
}

// startDev starts everything, or nothing.
func (a *app) startDev(f devFlags) (_ *devRun, err error) {
	project, err := a.projectEnv()
	if err != nil {
		return nil, err
	}
	d := &devRun{github: f.github}
	defer func() {
		if err != nil {
			d.cleanUp()
		}
	}()
	home, err := a.lockFolder()
	if err != nil {
		return nil, err
	}
	d.close = append(d.close, home.close)
	if d.data, err = a.dataDir(f); err != nil {
		return nil, err
	}
	made, err := makeUp(d.data)
	if err != nil {
		return nil, err
	}
	if d.plan, err = planDev(project, made, f.github); err != nil {
		return nil, err
	}
	if err := a.moreProvisions(&d.plan, f); err != nil {
		return nil, err
	}
	listener, err := socket.Listen(a.devSocket())
	if err != nil {
		return nil, err
	}
	d.close = append(d.close, func() { _ = listener.Close() })

	cloud, err := localcloud.Open(localcloud.Config{
		Dir: d.data, Listen: f.listen, Direct: f.direct, Control: "127.0.0.1:0", BeyondLoopback: f.beyond,
		AnyVault: f.anyVault, Pass: f.pass, Hermetic: f.hermetic, Provision: d.plan.provision,
	})
	if err != nil {
		return nil, cloudError(err)
	}
	d.close = append(d.close, func() { _ = cloud.Close() })
	d.state = devState{PID: os.Getpid(), Started: time.Now().UTC(), Env: d.plan.env, Unset: d.plan.unset}
	if d.state.Tokens, err = a.devTokens(cloud, made, f); err != nil {
		return nil, err
	}
	for key, value := range cloud.Env() {
		d.state.Env[key] = value
	}
	d.state.Env[config.EnvAgentSocket] = listener.Path()
	d.state.Env[envControl] = cloud.ControlURL()
	d.direct = cloud.DirectVaultURL(vaultName(d.plan.vaultURL))
	d.state.Env[envDirect] = d.direct
	options, err := cloud.JavaOptions()
	if err != nil {
		return nil, fault.Wrap(fault.Internal, err, "cannot make a trust store for Java: "+err.Error())
	}
	d.state.Env[envJava] = javaWords(options)

	// From here on the configuration is read as any command inside dev reads it.
	c, err := config.FromEnvironment(config.AsAgent(over(d.state.Env, func(string) string { return "" })))
	if err != nil {
		return nil, err
	}
	if d.seeded, err = a.seed(cloud, c, f.seeds); err != nil {
		return nil, err
	}
	vault, err := newAgent(c, agent.Config{Name: vaultName(d.plan.vaultURL)}, nil)
	if err != nil {
		return nil, err
	}
	daemon := agent.NewDaemon(agent.DaemonConfig{Plan: agent.Alone(vault), Version: Version})
	if err := home.announce(d.state); err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	d.stop, d.ended = stop, make(chan error, 1)
	go func() { d.ended <- daemon.Serve(ctx, listener) }()
	return d, nil
}

// dataDir is where the cloud keeps its database; "" is memory.
func (a *app) dataDir(f devFlags) (string, error) {
	if f.ephemeral {
		return "", nil
	}
	dir := a.path(f.data)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fault.Wrap(fault.Usage, err, "cannot make the folder of --data: "+err.Error())
	}
	return dir, nil
}

// devSocket is the agent's socket of this folder's dev. It lies in the runtime directory, because a path inside the
// folder may be too long for a socket.
func (a *app) devSocket() string {
	sum := sha256.Sum256([]byte(a.env.Dir))
	return filepath.Join(socket.Dir(a.getenv), "dev-"+hex.EncodeToString(sum[:8])+".sock")
}

func cloudError(err error) error {
	var op *net.OpError
	if errors.Is(err, syscall.EADDRINUSE) && errors.As(err, &op) {
		return fault.Wrap(fault.Usage, err, fmt.Sprintf("the address %s is in use", op.Addr),
			"leave --listen and --direct out, and free ports are taken")
	}
	return fault.Wrap(fault.Usage, err, "cannot start the local cloud: "+err.Error())
}

// wait lets dev run until ctx ends, and stops it.
func (d *devRun) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		d.finish()
		return nil
	case err := <-d.ended:
		d.ended <- err
		d.finish()
		if err == nil {
			err = fault.New(fault.Internal, "the agent of this dev ended: its socket was removed")
		}
		return err
	}
}

// finish stops the agent, which answers what is in flight, and then what it asks.
func (d *devRun) finish() {
	d.stop()
	<-d.ended
	d.cleanUp()
}

func (d *devRun) cleanUp() {
	for i := len(d.close) - 1; i >= 0; i-- {
		d.close[i]()
	}
	d.close = nil
}

func (a *app) banner(d *devRun) {
	out := a.env.Stdout
	kept := d.data
	if kept == "" {
		kept = "memory; it ends with this process"
	}
	fmt.Fprintln(out, "airlock dev is ready: a local Key Vault, Entra ID and managed identity. Nothing here is real Azure.")
	fmt.Fprintln(out)
	for _, line := range [][2]string{
		{"vault", d.plan.vaultURL},
		{"tenant", d.plan.tenantID},
		{"app", d.plan.clientID},
		{"identity", d.plan.identityID},
		{"astro", "Deployments development and production"},
		{"github", strings.Join(d.github, ", ")},
		{"proxy", d.state.Env["HTTPS_PROXY"]},
		{"direct", d.direct},
		{"agent", d.state.Env[config.EnvAgentSocket]},
		{"data in", kept},
	} {
		if line[1] == "" {
			continue
		}
		fmt.Fprintf(out, "  %-9s %s\n", line[0], line[1])
	}
	if d.seeded > 0 {
		fmt.Fprintf(out, "  %-9s %d %s\n", "seeded", d.seeded, plural(d.seeded, "secret"))
	}
	fmt.Fprintf(out, `
In another terminal, in this folder:
  airlock set --dev variable hello         asks for the value
  airlock get --dev variable hello
  airlock dev run -- CMD                   CMD takes this for Azure
  eval "$(airlock dev env --format shell)"

Stop with Ctrl-C.
`)
}
