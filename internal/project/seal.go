package project

import (
	"fmt"
	"slices"
	"strings"

	"github.com/airlock-secrets/airlock/internal/airflow"
	"github.com/airlock-secrets/airlock/internal/dotenv"
	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/secret"
)

// Credential is a variable of .env that opens something, with its whole value.
type Credential struct {
	Name  string // of the variable
	Value secret.Value
}

// Sealed is a .env without its credentials.
type Sealed struct {
	Credentials []Credential   // what left it, in the order of the file
	Secrets     []secret.Value // the bare secrets in them, to be searched for elsewhere
	Env         []byte
	Example     []byte // .env.example
}

// credentialVariables hold nothing but a credential: those that Azure's SDKs, Airflow and the Astro CLI read.
var credentialVariables = []string{
	envClientSecret, "AZURE_CLIENT_CERTIFICATE_PASSWORD", "AZURE_PASSWORD", airflow.EnvKwargPrefix + "CLIENT_SECRET",
	airflow.EnvWorkersKwargPrefix + "CLIENT_SECRET",
	"ASTRO_API_TOKEN", "ASTRONOMER_KEY_SECRET",
}

// Seal takes the credentials out of .env. The kwargs stay, without tenant, app and secret, and so sign in by the default
// chain of credentials: with `az login` or AZURE_CLIENT_SECRET on a desk. Lines that hold nothing else go. The example
// gets every variable that it does not name yet, with its value only where that is no secret. Connections and variables
// (AIRFLOW_CONN_*, AIRFLOW_VAR_*) are not logins and stay.
func Seal(env, example []byte) (Sealed, error) {
	places, err := dotenv.Places(EnvFile, env)
	if err != nil {
		return Sealed{}, err
	}
	s := Sealed{}
	var settings []Setting
	for key, value := range dotenvInOrder(places) {
		switch {
		case key == airflow.EnvKwargs, key == airflow.EnvWorkersKwargs && value != "":
			k, err := ParseKwargs([]byte(value))
			if err != nil && key == airflow.EnvWorkersKwargs {
				return Sealed{}, fault.Wrap(fault.Usage, err, EnvFile+": "+key+": "+err.Error())
			}
			if err != nil {
				return Sealed{}, fault.Wrap(fault.Usage, err, EnvFile+": "+err.Error(), "airlock init puts the line right")
			}
			if k.Text("client_secret").Len() == 0 {
				continue
			}
			s.Credentials = append(s.Credentials, Credential{key, k.Line()})
			s.Secrets = append(s.Secrets, k.Text("client_secret"))
			k = k.Clone()
			k.Delete("tenant_id", "client_id", "client_secret")
			settings = append(settings, Setting{Key: key, Value: k.Line()})
		case slices.Contains(credentialVariables, key) && value != "":
			s.Credentials = append(s.Credentials, Credential{key, secret.FromString(value)})
			s.Secrets = append(s.Secrets, secret.FromString(value))
			settings = append(settings, Setting{Key: key, Remove: true})
		}
	}
	if s.Env, err = SetEnv(EnvFile, env, settings); err != nil {
		return Sealed{}, err
	}
	s.Example, err = addExamples(example, places, settings)
	return s, err
}

// dotenvInOrder gives each key once, with the value that counts, where it stands first.
func dotenvInOrder(places []dotenv.Place) func(yield func(key, value string) bool) {
	return func(yield func(key, value string) bool) {
		values := map[string]string{}
		for _, p := range places {
			values[p.Key] = p.Value
		}
		for _, p := range places {
			value, first := values[p.Key]
			if !first {
				continue
			}
			delete(values, p.Key)
			if !yield(p.Key, value) {
				return
			}
		}
	}
}

const exampleHead = `# Copy to .env, which stays out of git and of the image. Credentials are not kept there: sign in with az login, or set
# AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET in your shell.
`

// addExamples names in .env.example what .env has.
func addExamples(example []byte, places []dotenv.Place, sealed []Setting) ([]byte, error) {
	named, err := dotenv.Places(EnvExampleFile, example)
	if err != nil {
		return nil, err
	}
	out := example
	if len(example) == 0 {
		out = []byte(exampleHead)
	}
	for key, value := range dotenvInOrder(places) {
		if slices.ContainsFunc(named, func(p dotenv.Place) bool { return p.Key == key }) ||
			slices.ContainsFunc(sealed, func(s Setting) bool { return s.Key == key && s.Remove }) {
			continue
		}
		line := key + "="
		switch {
		case key == airflow.EnvBackend:
			line += value
		case key == airflow.EnvKwargs:
			k, err := ParseKwargs([]byte(value))
			if err != nil {
				return nil, err
			}
			k.Delete("tenant_id", "client_id")
			for _, f := range slices.Clone(k.fields) {
				if !publicKwargs[f.key] {
					k.Delete(f.key)
				}
			}
			line += string(k.Line().Reveal())
		}
		out = appendLine(out, line)
	}
	return out, nil
}

// Workflow is the deploy workflow that Seal's credentials are read by.
type Workflow struct {
	DeploymentID string
	Branch       string // whose pushes are deployed
	Root         string // the project's folder in the repository; "." is the repository itself
	Names        []string
}

// deployAction is Astronomer's action, by the release that its README shows. Pin it by its commit, too, where your rules
// ask for that. https://github.com/astronomer/deploy-action
const deployAction = "astronomer/deploy-action@v0.11.0"

// WorkflowFile is where GitHub looks for it, from the root of the repository.
const WorkflowFile = ".github/workflows/deploy-to-astro.yml"

// YAML writes the workflow. Values of secrets reach the Astro CLI by a file that only the runner's user can read, and not
// by its arguments.
func (w Workflow) YAML() []byte {
	var out strings.Builder
	fmt.Fprintf(&out, `# Deploys to Astro, and gives the Deployment the credentials that this repository keeps as Actions secrets.
# Beside those it needs the secret ASTRO_API_TOKEN: a token of the Deployment.
name: Deploy to Astro

on:
  push:
    branches: [%[1]s]

permissions:
  contents: read

concurrency: deploy-to-astro

env:
  DEPLOYMENT_ID: %[2]s

jobs:
  deploy:
    runs-on: ubuntu-latest
    steps:
      - uses: %[3]s
        env:
          ASTRO_API_TOKEN: ${{ secrets.ASTRO_API_TOKEN }}
        with:
          deployment-id: ${{ env.DEPLOYMENT_ID }}
          root-folder: %[4]s
          parse: true
`, quoted(w.Branch), quoted(w.DeploymentID), deployAction, quoted(w.Root))
	if len(w.Names) == 0 {
		return []byte(out.String())
	}
	out.WriteString(`      # The values go by a file, since arguments show in the list of processes; --secret hides them in Astro.
      - name: Credentials of the secrets backend
        env:
          ASTRO_API_TOKEN: ${{ secrets.ASTRO_API_TOKEN }}
`)
	for _, name := range w.Names {
		if name != "ASTRO_API_TOKEN" {
			fmt.Fprintf(&out, "          %[1]s: ${{ secrets.%[1]s }}\n", name)
		}
	}
	out.WriteString(`        run: |
          umask 077
          file="$RUNNER_TEMP/credentials.env"
          trap 'rm -f "$file"' EXIT
          {
`)
	for _, name := range w.Names {
		if name != "ASTRO_API_TOKEN" {
			fmt.Fprintf(&out, "            printf '%%s=%%s\\n' %[1]s \"$%[1]s\"\n", name)
		}
	}
	out.WriteString(`          } > "$file"
          astro deployment variable update --deployment-id "$DEPLOYMENT_ID" --load --env "$file" --secret
`)
	return []byte(out.String())
}
