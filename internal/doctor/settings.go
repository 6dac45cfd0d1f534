package doctor

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/airlock-secrets/airlock/internal/airflow"
	"github.com/airlock-secrets/airlock/internal/config"
	"github.com/airlock-secrets/airlock/internal/project"
)

// oldBackend is what the official class was called; releases of today do not have it any more.
const oldBackend = "airflow.providers.microsoft.azure.secrets.azure_key_vault.AzureKeyVaultBackend"

// classPath is a class as Python imports it.
var classPath = regexp.MustCompile(`^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$`)

func (v *visit) checkClass(context.Context) Result {
	class := strings.TrimSpace(v.env(config.EnvBackend))
	v.class = class
	set := fmt.Sprintf("write into .env: %s=%s", config.EnvBackend, airflow.AirlockBackend)
	r := Result{State: OK}
	switch {
	case class == "":
		r := Result{State: Broken, Found: config.EnvBackend + " is not set: Airflow asks no vault", Remedies: []string{set}}
		if project.Find(v.Dir) == nil {
			r.Remedies = []string{"let airlock init ask for the vault and the login, and write both", "or " + set}
		}
		return r
	case strings.Trim(class, `'"`) != class:
		return Result{State: Broken, Remedies: []string{set},
			Found: config.EnvBackend + " has quotes in it, which are part of the value here: Airflow finds no such class"}
	case !classPath.MatchString(class):
		return Result{State: Broken, Found: config.EnvBackend + " is not the path of a Python class", Remedies: []string{set}}
	case class == airflow.AirlockBackend:
		r.Found = class
	case class == airflow.AzureBackend:
		r.Found = class + ", the official one"
		r.Notes = append(r.Notes, "each task process logs in and reads by itself; "+airflow.AirlockBackend+" takes the same kwargs")
	case class == oldBackend:
		return Result{State: Broken, Found: class + " is a module that newer providers do not have",
			Remedies: []string{set, fmt.Sprintf("or the official one: %s=%s", config.EnvBackend, airflow.AzureBackend)}}
	default:
		r.warn(class+" is neither Airlock's class nor the official one; its kwargs are read as if it were", set)
	}
	if other := strings.TrimSpace(v.env(airflow.EnvWorkersBackend)); other != "" && other != class {
		r.warn(airflow.EnvWorkersBackend+" names another class, and workers of Airflow 3 ask that one first", "remove "+airflow.EnvWorkersBackend+" or give it the same class")
	}
	return r
}

func (v *visit) checkKwargs(context.Context) Result {
	c, err := config.FromEnvironment(v.env)
	if err != nil {
		r := brokenBy(err)
		if file, err := v.read(project.EnvFile); err == nil && processEnv(v.Process)(config.EnvKwargs) == "" {
			correct(&r, file.Old)
		}
		if v.class == airflow.AzureBackend {
			r.Notes = append(r.Notes, "Airflow does not say so: it goes on without kwargs, or passes what it does not know to the Azure SDK")
		}
		return r
	}
	v.conf = c
	if c.VaultURL == "" {
		return Result{State: Skipped, Found: "they name an agent and no vault: " + c.AgentSocket + c.AgentURL}
	}
	r := Result{State: OK, Found: fmt.Sprintf("%s, login by %s", strings.TrimSuffix(c.VaultURL, "/"), c.Login())}
	r.Notes = append(r.Notes, "prefixes: "+prefixes(c))
	for _, w := range c.Warnings {
		r.warn(w, remedyFor(w)...)
	}
	v.warnSep(&r)
	v.warnIdentity(&r)
	return r
}

// remedyFor is what to do about a warning of the configuration.
func remedyFor(warning string) []string {
	switch {
	case strings.Contains(warning, "client secret login"):
		return []string{"give tenant_id, client_id and client_secret together, or none of them"}
	case strings.Contains(warning, "Python SDK"):
		return []string{"take it out: the agent has its own settings for time and retries"}
	}
	return nil
}

func (v *visit) warnSep(r *Result) {
	const remedy = `leave sep out; without prefixes, write "connections_prefix": "", "variables_prefix": ""`
	switch v.conf.Sep {
	case "-":
	case "":
		found := `sep is "": underscores of ids vanish, so that my_db is the secret mydb`
		if v.class != airflow.AirlockBackend {
			found += ", and some releases of the official backend find nothing at all"
		}
		r.warn(found, remedy)
	default:
		r.warn(fmt.Sprintf(`sep is %q, and "-" is what names in a Key Vault can hold`, v.conf.Sep), remedy)
	}
}

func (v *visit) warnIdentity(r *Result) {
	identity, tenant := v.conf.ManagedIdentityClientID != "", v.conf.WorkloadIdentityTenantID != ""
	if identity == tenant {
		return
	}
	has, lacks := "managed_identity_client_id", "workload_identity_tenant_id"
	if tenant {
		has, lacks = lacks, has
	}
	if v.class == airflow.AirlockBackend {
		r.Notes = append(r.Notes, fmt.Sprintf("%s without %s: Airlock honours it, the official backend ignores it", has, lacks))
		return
	}
	r.warn(fmt.Sprintf("%s without %s is ignored by the official backend in silence", has, lacks), "add "+lacks+" to the kwargs")
}

func prefixes(c config.Config) string {
	var all []string
	for _, kind := range airflow.Kinds() {
		text := fmt.Sprintf("%q", c.Prefix(kind).Text())
		if c.Prefix(kind).Null() {
			text = "null"
		}
		all = append(all, kind.Plural()+" "+text)
	}
	return strings.Join(all, ", ")
}
