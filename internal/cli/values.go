package cli

import (
	"fmt"
	"path/filepath"
	"regexp"

	"github.com/spf13/cobra"

	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/project"
)

func (a *app) valuesCommand() *cobra.Command {
	var v project.Values
	var e fileEdits
	var namespace string
	c := &cobra.Command{
		Use:   "values FILE",
		Short: "Give the Remote Execution Agent's values.yaml the secrets backend",
		Long: `Give the values.yaml of Astro's Remote Execution Agent the secrets backend of this project's .env: secretBackend, the kwargs
in commonEnv, and with a managed identity the labels and annotations of Entra Workload ID. Comments and everything else
stay, byte for byte; a second run changes nothing.

A client secret does not go into the file: AZURE_CLIENT_SECRET is read from a Kubernetes Secret, and the command that makes
it is printed. Refused are keys that stand twice, of which Helm forgets one, and client ids that disagree.`,
		Example: `  airlock values values.yaml
  airlock values values.yaml --service-account remote-exec-sa --yes`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := a.planValues(args[0], namespace, v, &e); err != nil {
				return err
			}
			return a.edit(c.Context(), &e)
		},
	}
	flags := c.Flags()
	flags.StringVar(&v.ServiceAccount, "service-account", "", "the Kubernetes service account, made elsewhere, that all components run as; by default it stays as it is")
	flags.StringVar(&v.SecretName, "secret-name", "airlock", "the Kubernetes Secret that holds the client secret")
	flags.StringVar(&v.SecretKey, "secret-key", "client-secret", "its key")
	flags.StringVar(&namespace, "namespace", "", "the agent's namespace, for the command that is printed")
	e.flags(c)
	return c
}

// kubernetesName is what Kubernetes takes for the name of an object.
var kubernetesName = regexp.MustCompile(`^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$`)

func (a *app) planValues(file, namespace string, v project.Values, e *fileEdits) error {
	for flag, name := range map[string]string{"service-account": v.ServiceAccount, "secret-name": v.SecretName, "namespace": namespace} {
		if name != "" && !kubernetesName.MatchString(name) {
			return fault.New(fault.Usage, fmt.Sprintf("--%s is not a name in Kubernetes: lower-case letters, digits, - and dots", flag))
		}
	}
	home, err := project.Open(a.env.Dir)
	if err != nil {
		return err
	}
	env, err := home.Read(project.EnvFile)
	if err != nil {
		return err
	}
	backend, err := project.ReadBackend(project.EnvFile, env.Old)
	if err != nil {
		return err
	}
	login := project.LoginOf(backend.Kwargs)
	if login.VaultURL != "" && login.Auth == "" && backend.Repaired == "" {
		return fault.New(fault.Usage, ".env names no login, as airlock seal leaves it: "+file+" would lose its own",
			"put the login back with airlock init, and seal again afterwards")
	}
	if login.VaultURL == "" || login.Auth == "" || backend.Repaired != "" {
		return fault.New(fault.Usage, ".env does not say how to reach the vault", "run airlock init first")
	}
	path := a.path(file)
	if e.tree, err = project.Open(filepath.Dir(path)); err != nil {
		return err
	}
	values, err := e.read(filepath.Base(path), project.MaskValues)
	if err != nil {
		return err
	}
	if !values.Exists() {
		return fault.New(fault.Usage, file+" does not exist", "Astro gives it when agents are registered: Deployment > Agents > Register Agents")
	}
	v.Class, v.Kwargs = first(backend.Class, backends["airlock"].class), backend.Kwargs
	var warnings []string
	if values.New, warnings, err = project.EditValues(values.Name, values.Old, v); err != nil {
		return err
	}
	e.warnings = append(e.warnings, warnings...)
	in := ""
	if namespace != "" {
		in = " --namespace " + namespace
	}
	if login.Auth == project.ClientSecret {
		e.then("kubectl create secret generic %s%s --from-file=%s=/dev/stdin   (then type the client secret, without a line break, and Ctrl-D)",
			v.SecretName, in, v.SecretKey)
	}
	e.then("helm upgrade astro-agent astronomer/astro-remote-execution-agent%s --values %s", in, shellQuote(file))
	e.then("the sentinel does not follow commonEnv: kubectl rollout restart%s deployment astro-agent-sentinel", in)
	return nil
}
