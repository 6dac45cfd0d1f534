// Package doctor looks at every link of the chain between an Airflow project and its Key Vault, and says of each how it is,
// what was found, and what to type where it is broken. It changes nothing, here or there, and shows no value of a secret.
//
// A check is a function of what the checks before it found. Checks that do not need one another run at the same time;
// results are told in the order of the chain.
package doctor

import (
	"context"
	"net/url"
	"time"

	"github.com/airlock-secrets/airlock/internal/agentapi"
	"github.com/airlock-secrets/airlock/internal/astro"
	"github.com/airlock-secrets/airlock/internal/config"
	"github.com/airlock-secrets/airlock/internal/keyvault"
)

// State is how a link of the chain is.
type State string

// The states, from good to bad. Skipped is none of both: nothing was looked at.
const (
	OK      State = "ok"
	Skipped State = "skipped"
	Warning State = "warning"
	Broken  State = "broken"
)

// rank orders states by how much they ask for attention.
var rank = map[State]int{OK: 0, Skipped: 0, Warning: 1, Broken: 2}

// Result is what was found of one link.
type Result struct {
	Check string `json:"check"` // its name, which stays the same over releases
	Title string `json:"title"` // the same for people
	State State  `json:"state"`
	Found string `json:"found"` // one line
	// Notes are what else was found, a line each.
	Notes []string `json:"notes,omitempty"`
	// Remedies are what to type or to change, the most likely first.
	Remedies []string `json:"remedies,omitempty"`
	// Because is the broken check for which a skipped one was not looked at; "" where there is another reason.
	Because string `json:"because,omitempty"`
}

// Report is the whole chain, in order.
type Report struct {
	State  State    `json:"state"` // the worst of the checks; never Skipped
	Checks []Result `json:"checks"`
}

// Vault is what the doctor does with a Key Vault. All of it is without effect. *keyvault.Client is one.
type Vault interface {
	Challenge(context.Context) (keyvault.Challenge, error)
	Login(context.Context, keyvault.Challenge) (keyvault.Login, error)
	Try(context.Context, keyvault.Right) error
	Lister
}

// Road is the vault of a configuration and how it is reached.
type Road struct {
	Vault Vault
	Proxy *url.URL // nil: none
	Trust string   // the file of authorities that are trusted in place of the system's; "": the system's
}

// Agent is an agent that was asked about itself.
type Agent struct {
	At     string // its socket or its URL
	Named  bool   // the configuration names it, so it must answer
	Status agentapi.Status
	Err    error
}

// Config is what an examination is about.
type Config struct {
	// Dir is the project's folder.
	Dir string
	// Getenv is the environment that Airflow would have: the process's, and the project's .env below it. Its error is what
	// is wrong with .env.
	Getenv func() (config.Getenv, error)
	// Process is the environment of this process alone, as KEY=VALUE.
	Process []string
	// Open makes the client of a configuration's vault, which is not asked yet.
	Open func(config.Config) (Road, error)
	// Agents asks the agents that run for this user. nil: there are none.
	Agents func(context.Context, config.Config) []Agent
	// Version is this program's.
	Version string
	// Python is the interpreter that has the project's Airflow; "" looks in VIRTUAL_ENV and in PATH.
	Python string
	// Dev says that the vault is the local cloud's of `airlock dev`, which lets everybody do everything on purpose.
	Dev bool
	// Deployment is the id or name of the Deployment to compare with; "" leaves that out.
	Deployment string
	// Astro makes the client for it.
	Astro func() (Deployments, error)
	// Wanted are the variables that the Deployment shall have, as they are here.
	Wanted func() ([]astro.Wanted, error)
	// Values is the values.yaml of a Remote Execution Agent to compare with; "" leaves that out.
	Values string
	// Now is this machine's clock; nil is time.Now.
	Now func() time.Time
}

// Deployments finds Deployments of Astro. *astro.Client is one.
type Deployments interface {
	Find(ctx context.Context, idOrName string) (astro.Deployment, error)
}

// Listener hears of the examination while it goes on, in the order of the chain. Either may be nil.
type Listener struct {
	Waits func(title string) // the next result will be this one's
	Hears func(Result)
}

// visit is one examination: what its checks found for those that come after them. A check writes its own fields before
// it ends, and only those that need it read them.
type visit struct {
	Config

	env   config.Getenv
	class string
	conf  config.Config
	road  Road
	way   way
	login keyvault.Login
	held  []keyvault.Properties // nil: the list was not read
}

// Examine looks at all links. It ends with ctx; what was not looked at then is skipped.
func Examine(ctx context.Context, cfg Config, listener Listener) Report {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	v := &visit{Config: cfg}
	return examine(ctx, v.checks(), listener)
}

// checks is the chain.
func (v *visit) checks() []check {
	all := []check{
		{id: "env", title: ".env", run: v.checkEnv},
		{id: "class", title: "backend class", needs: []string{"env"}, run: v.checkClass},
		{id: "kwargs", title: "backend kwargs", needs: []string{"env"}, after: []string{"class"}, run: v.checkKwargs},
		{id: "requirements", title: "requirements.txt", after: []string{"class"}, run: v.checkRequirements},
		{id: "ignored", title: "kept private", run: v.checkIgnored},
		{id: "import", title: "class in Airflow", needs: []string{"class"}, after: []string{"kwargs"},
			limit: importTime, run: v.checkImport},
		{id: "proxy", title: "proxy", needs: []string{"kwargs"}, run: v.checkProxy},
		{id: "name", title: "vault's name", needs: []string{"proxy"}, limit: wayTime, run: v.checkName},
		{id: "connection", title: "connection", needs: []string{"name"}, run: v.checkConnection},
		{id: "tls", title: "TLS", needs: []string{"connection"}, run: v.checkTLS},
		{id: "vault", title: "vault", needs: []string{"tls"}, run: v.checkVault},
		{id: "clock", title: "clock", needs: []string{"vault"}, run: v.checkClock},
		{id: "token", title: "token", needs: []string{"vault"}, limit: loginTime, run: v.checkToken},
		{id: "firewall", title: "firewall", needs: []string{"token"}, limit: loginTime, run: v.checkFirewall},
		{id: "get", title: "may read", needs: []string{"firewall"}, run: v.checkGet},
		{id: "list", title: "may list", needs: []string{"firewall"}, limit: listTime, run: v.checkList},
		{id: "rights", title: "excess rights", needs: []string{"firewall"}, limit: loginTime, run: v.checkRights},
		{id: "secrets", title: "secrets", needs: []string{"list"}, run: v.checkSecrets},
		{id: "validity", title: "validity", needs: []string{"list"}, run: v.checkValidity},
		{id: "ids", title: "ids", needs: []string{"kwargs"}, after: []string{"list"}, run: v.checkIDs},
		{id: "agent", title: "agent", after: []string{"class", "kwargs"}, run: v.checkAgent},
	}
	if v.Deployment != "" {
		all = append(all, check{id: "deployment", title: "Deployment", needs: []string{"kwargs"},
			limit: loginTime, run: v.checkDeployment})
	}
	if v.Values != "" {
		all = append(all, check{id: "values", title: "values.yaml", needs: []string{"kwargs", "class"}, run: v.checkValues})
	}
	return all
}
