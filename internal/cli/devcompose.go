package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/airlock-secrets/airlock/internal/config"
	"github.com/airlock-secrets/airlock/internal/dotenv"
	"github.com/airlock-secrets/airlock/internal/fault"
)

const (
	overrideFile = "docker-compose.override.yml"
	// overrideMark is the first line of an override that is ours to write again and to remove.
	overrideMark = "# Written by `airlock dev compose`; `airlock dev compose --remove` removes it.\n"
	// insideHost is the name by which a container reaches its host.
	insideHost = "host.docker.internal"
	insideCA   = "/usr/local/share/airlock/ca-bundle.pem"
)

// composeServices are the containers of `astro dev start` that run Airflow, by Airflow's major version. Astro CLI 1.45.
var composeServices = map[string][]string{
	"2": {"scheduler", "triggerer", "webserver"},
	"3": {"api-server", "dag-processor", "scheduler", "triggerer"},
}

func (a *app) devComposeCommand() *cobra.Command {
	var remove bool
	var airflow string
	c := &cobra.Command{
		Use:   "compose",
		Short: "Make the containers of astro dev start use the running dev",
		Long: `Write ` + overrideFile + `, which gives the containers of astro dev start the environment and the certificates of the
dev that runs in this folder. They reach it through ` + insideHost + `; values lie in ` + devDir + `/compose, out of git.

With Docker Desktop the containers reach loopback. On Linux dev has to listen where they can reach it, for example with
airlock dev --listen 172.17.0.1:18080 --listen-beyond-loopback.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			path := a.path(overrideFile)
			if err := ours(path); err != nil {
				return err
			}
			if remove {
				return errors.Join(removeIfThere(path), os.RemoveAll(a.path(filepath.Join(devDir, "compose"))))
			}
			if airflow == "" {
				airflow = a.airflowMajor()
			}
			services, ok := composeServices[airflow]
			if !ok {
				return usage(c, fmt.Errorf("--airflow is 2 or 3"))
			}
			return a.writeCompose(path, services)
		},
	}
	c.Flags().BoolVar(&remove, "remove", false, "remove what this command wrote")
	c.Flags().StringVar(&airflow, "airflow", "", "Airflow's major version; by default what the Dockerfile's runtime says")
	return c
}

// ours refuses an override that somebody wrote by hand.
func ours(path string) error {
	raw, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fault.Wrap(fault.Usage, err, "cannot read "+overrideFile)
	case !bytes.HasPrefix(raw, []byte(overrideMark)):
		return fault.New(fault.Usage, overrideFile+" is there already, and was not written by this command",
			"move it away, run this command, and put your services back beside its own")
	}
	return nil
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fault.Wrap(fault.Usage, err, "cannot remove "+overrideFile)
	}
	return nil
}

// oldRuntime is the image of an Astro Runtime with Airflow 2.
var oldRuntime = regexp.MustCompile(`(?m)^FROM\s+\S*astro-runtime:`)

func (a *app) airflowMajor() string {
	if dockerfile, err := os.ReadFile(a.path("Dockerfile")); err == nil && oldRuntime.Match(dockerfile) {
		return "2"
	}
	return "3"
}

func (a *app) writeCompose(path string, services []string) error {
	state, err := a.runningDev()
	if err != nil {
		return err
	}
	proxy, err := url.Parse(state.Env["HTTPS_PROXY"])
	if err != nil {
		return fault.Wrap(fault.Internal, err, "dev's proxy is no URL")
	}
	dir := a.path(filepath.Join(devDir, "compose"))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fault.Wrap(fault.Usage, err, "cannot make "+dir)
	}
	var env bytes.Buffer
	if err := writeEnv(&env, insideContainers(state.Env, proxy), "", dotenv.Quote); err != nil {
		return err
	}
	if err := writeFile(filepath.Join(dir, "env"), env.Bytes()); err != nil {
		return err
	}
	// Airflow's user in the container has to read the certificates; they are no secret.
	bundle, err := os.ReadFile(state.Env["SSL_CERT_FILE"])
	if err != nil {
		return fault.Wrap(fault.Usage, err, "cannot read dev's certificates")
	}
	inside := filepath.Join(dir, "ca-bundle.pem")
	if err := errors.Join(writeFile(inside, bundle), os.Chmod(inside, 0o644)); err != nil {
		return err
	}
	raw, err := composeOverride(services)
	if err != nil {
		return err
	}
	if err := writeFile(path, raw); err != nil {
		return err
	}
	fmt.Fprintf(a.env.Stdout, "wrote %s for %s\n", overrideFile, strings.Join(services, ", "))
	if ip := net.ParseIP(proxy.Hostname()); runtime.GOOS == "linux" && ip != nil && ip.IsLoopback() {
		a.say("airlock: hint: containers on Linux do not reach loopback; start dev with: airlock dev --listen 172.17.0.1:18080 --listen-beyond-loopback")
	}
	return nil
}

// insideContainers is dev's environment as a container has it.
func insideContainers(env map[string]string, proxy *url.URL) map[string]string {
	const direct = "localhost,127.0.0.1,::1,postgres,api-server,dag-processor,scheduler,triggerer,webserver"
	through := "http://" + net.JoinHostPort(insideHost, proxy.Port())
	all := map[string]string{}
	for key, value := range env {
		switch key {
		case config.EnvAgentSocket, envControl, envDirect, envJava: // the backend starts an agent in its own container
		case "HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy":
			all[key] = through
		case "NO_PROXY", "no_proxy":
			all[key] = direct
		case "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS":
			all[key] = insideCA
		default:
			all[key] = value
		}
	}
	return all
}

func composeOverride(services []string) ([]byte, error) {
	type service struct {
		EnvFile    []string `yaml:"env_file"`
		ExtraHosts []string `yaml:"extra_hosts"`
		Volumes    []string `yaml:"volumes"`
	}
	file := struct {
		Services map[string]service `yaml:"services"`
	}{map[string]service{}}
	for _, name := range services {
		file.Services[name] = service{
			EnvFile:    []string{"./" + devDir + "/compose/env"},
			ExtraHosts: []string{insideHost + ":host-gateway"},
			Volumes:    []string{"./" + devDir + "/compose/ca-bundle.pem:" + insideCA + ":ro"},
		}
	}
	raw, err := yaml.Marshal(file)
	return append([]byte(overrideMark), raw...), err
}
