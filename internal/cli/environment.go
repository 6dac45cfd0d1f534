package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// variables are the environment variables that Airlock reads itself. azidentity reads more of Azure's own.
var variables = []struct{ name, meaning string }{
	{"AIRFLOW__SECRETS__BACKEND_KWARGS", "the backend's kwargs, a JSON object: vault_url, prefixes, credentials"},
	{"AIRFLOW__SECRETS__BACKEND_KWARG__<KEY>", "one kwarg as plain text, above the JSON (as in Airflow 3.2)"},
	{"AIRLOCK_AGENT_SOCKET", "the agent to ask; without it get asks the vault itself"},
	{"AIRLOCK_AGENT_URL, AIRLOCK_AGENT_TOKEN_FILE", "the agent to ask by TCP on loopback, and the file with its token"},
	{"AIRLOCK_CACHE_TTL, AIRLOCK_NEGATIVE_TTL, AIRLOCK_MAX_STALE, AIRLOCK_IDLE_EXIT, AIRLOCK_AUDIT_FILE", "an agent's settings of these names, above its file"},
	{"AIRLOCK_RUNTIME_DIR", "the private directory for sockets; else airlock in XDG_RUNTIME_DIR, else /tmp/airlock-UID"},
	{"AIRLOCK_BINARY", "the airlock that the Python backend starts; else the one in its wheel"},
	{"AIRLOCK_TIMEOUT", "how many seconds the Python backend waits for the agent; 30 by default"},
	{"AIRLOCK_DEV_CONTROL", "inside dev: the control API of the local cloud, for tests that make things go wrong"},
	{"AIRLOCK_DEV_DIRECT", "inside dev: the vault's URL for clients that have no proxy"},
	{"AZURE_TENANT_ID, AZURE_CLIENT_ID, AZURE_CLIENT_SECRET", "a client secret login, when the kwargs name none"},
	{"AZURE_AUTHORITY_HOST", "Entra ID of another cloud; by default that of the vault's cloud"},
	{"AZURE_TOKEN_CREDENTIALS", "narrows the credential chain: dev, prod, or one credential's name"},
	{"ASTRO_API_TOKEN", "the token of an Organization, a Workspace or a Deployment for push; else the Astro CLI's login is used"},
	{"ASTRO_HOME", "where the Astro CLI's login is looked for, in .astro/config.yaml; else the home directory"},
	{"GITHUB_TOKEN, GH_TOKEN", "the token for a repository's secrets"},
	{"HTTPS_PROXY, HTTP_PROXY, NO_PROXY", "how to reach the vault and Entra ID; lower case works, too"},
	{"SSL_CERT_FILE", "the certificate authorities to trust instead of the system's"},
}

func environmentTopic() *cobra.Command {
	var text strings.Builder
	text.WriteString("Environment variables that airlock reads:\n\n")
	for _, v := range variables {
		fmt.Fprintf(&text, "  %s\n      %s\n", v.name, v.meaning)
	}
	text.WriteString("\nA project's .env is read where a variable is not set. `airlock dev env` prints what a running dev gives.")
	return &cobra.Command{Use: "environment", Short: "Which environment variables are read", Long: text.String()}
}
