package config

import (
	"errors"
	"fmt"
	"reflect"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/airlock-secrets/airlock/internal/airflow"
	"github.com/airlock-secrets/airlock/internal/secret"
)

// document is the agent's configuration file as it is written. Field by field it is what docs/airlock.yaml shows: the tag
// "yaml" is the key, "doc" the comment.
type document struct {
	Vaults []vaultEntry `yaml:"vaults" doc:"The vaults that are asked, in this order unless there are routes."`
	Routes []routeEntry `yaml:"routes" doc:"Which lookups go to which vault. Every route that fits is tried, in order: \"not found\" goes on to the next, a denial\nstops unless on_denied says otherwise, and a vault that does not answer stops. Without routes every lookup goes to\nall vaults, in their order."`
	Never  neverEntry   `yaml:"never" doc:"Ids that no vault has, as patterns for each kind. They are answered \"not found\" and never leave the machine."`
	Cache  cacheEntry   `yaml:"cache" doc:"How long an answer is believed."`
	Policy []ruleEntry  `yaml:"policy" doc:"Who may look up what: what no rule allows is refused. Without rules the agent's own user and root may look up\neverything."`
	Audit  auditEntry   `yaml:"audit" doc:"Who looked up what, as one JSON object a line, never with a value. A lookup whose line cannot be written is refused."`
	Listen listenEntry  `yaml:"listen" doc:"Where the agent answers. A changed token and changed hosts take effect at once, the rest when the agent is started\nanew."`
}

type vaultEntry struct {
	Name label    `yaml:"name" doc:"What routes, logs and the audit call it; by default the first word of the host."`
	URL  vaultURL `yaml:"url" doc:"The address that the portal shows as Vault URI."`

	TenantID         plainText  `yaml:"tenant_id" doc:"A login by client secret needs these two, and the secret: client_secret_env names an environment variable,\nclient_secret_file a file (a relative path starts at this one's folder), client_secret is the secret itself. A file\nwith a secret is refused when others can read it. Without them the default credential chain is used."`
	ClientID         plainText  `yaml:"client_id"`
	ClientSecret     hidden     `yaml:"client_secret"`
	ClientSecretFile plainText  `yaml:"client_secret_file"`
	ClientSecretEnv  plainText  `yaml:"client_secret_env"`
	ManagedIdentity  plainText  `yaml:"managed_identity_client_id" doc:"Chooses a user-assigned managed identity."`
	WorkloadTenant   plainText  `yaml:"workload_identity_tenant_id" doc:"The tenant of a workload identity, if AZURE_TENANT_ID does not name it."`
	Connections      prefixText `yaml:"connections_prefix" doc:"What stands before every id; null: ids of this kind are never looked up here."`
	Variables        prefixText `yaml:"variables_prefix"`
	ConfigOptions    prefixText `yaml:"config_prefix"`
	Sep              plainText  `yaml:"sep" doc:"Joins prefix and id, and takes the place of every \"_\"."`
	MultiTeam        yesNo      `yaml:"multi_team" doc:"As Airflow's [core] multi_team: ids that could name a team's secret are refused."`

	Share share `yaml:"vault_share" doc:"The part of the vault's request limit that this agent keeps to, above 0 and up to 1."`

	At int `yaml:"-"` // the line
}

func (v *vaultEntry) setDefaults() {
	k := airflow.DefaultKwargs()
	v.Connections, v.Variables, v.ConfigOptions = prefixText{k.ConnectionsPrefix}, prefixText{k.VariablesPrefix}, prefixText{k.ConfigPrefix}
	v.Sep, v.Share = plainText(k.Sep), DefaultVaultShare
}

type cacheEntry struct {
	TTL         span `yaml:"ttl" doc:"How long a value is served without asking the vault (AIRLOCK_CACHE_TTL)."`
	NegativeTTL span `yaml:"negative_ttl" doc:"How long \"not found\" is remembered (AIRLOCK_NEGATIVE_TTL)."`
	MaxStale    span `yaml:"max_stale" doc:"How old a value may be that is served while the vault does not answer (AIRLOCK_MAX_STALE)."`

	ListInterval interval `yaml:"list_interval" doc:"The longest between two looks at a vault's list for changes; 0: none."`
	Prefetch     yesNo    `yaml:"prefetch" doc:"Begin with reading all that the vaults have for Airflow."`
}

func (c *cacheEntry) setDefaults() {
	*c = cacheEntry{TTL: span(DefaultCacheTTL), NegativeTTL: span(DefaultNegativeTTL), MaxStale: span(DefaultMaxStale), ListInterval: interval{span(DefaultListInterval)}}
}

type listenEntry struct {
	Socket   plainText `yaml:"socket" doc:"The Unix socket, in a folder that only the agent's user can enter; agent.sock in the runtime directory by\ndefault (--socket)."`
	Group    group     `yaml:"group" doc:"A group, by name or number, whose members may connect, too: the folder then has mode 0750 and the socket 0660. It\nwants a socket in a folder of its own, and rules (policy)."`
	TCP      loopback  `yaml:"tcp" doc:"A loopback address for callers that cannot share a socket, such as another container of a pod; port 0 is any. It\nwants a token_file, and a rule with tcp: true."`
	Token    plainText `yaml:"token_file" doc:"What callers by TCP must show. The file is made, for the agent's user alone, if it is missing; another content, or a\nnew file after it was deleted, is a new token. A relative path starts at this file's folder."`
	Hosts    []host    `yaml:"hosts" doc:"By which names callers by TCP may address the agent, beside localhost and loopback addresses."`
	IdleExit span      `yaml:"idle_exit" doc:"Stop after so long without a request; 0 is never (--idle-exit, AIRLOCK_IDLE_EXIT)."`

	At int `yaml:"-"`
}

// The types of single values. Each reads itself from a node, and says what is wrong with it without repeating it.

// plainText is any string.
type plainText string

func (t *plainText) take(n *yaml.Node) error {
	if n.Tag != "!!str" {
		return errors.New("must be text")
	}
	*t = plainText(n.Value)
	return nil
}

// label is a name that stands well in logs and on a command line.
type label string

func (l *label) take(n *yaml.Node) error {
	if !airflow.ValidName(n.Value) {
		return errors.New("must be a name of letters, digits and dashes")
	}
	*l = label(n.Value)
	return nil
}

// vaultURL is the address of a vault.
type vaultURL string

func (u *vaultURL) take(n *yaml.Node) error {
	*u = vaultURL(n.Value)
	return vaultURLProblem(n.Value)
}

// hidden is text that is not shown.
type hidden struct{ secret.Value }

func (h *hidden) take(n *yaml.Node) error {
	if n.Tag != "!!str" {
		return errors.New("must be text, in quotes where it looks like a number")
	}
	h.Value = secret.FromString(n.Value)
	return nil
}

func (h hidden) give() any {
	if h.Len() == 0 {
		return ""
	}
	return masked
}

// masked is what people see of a secret.
const masked = "********"

// prefixText is a prefix, or null.
type prefixText struct{ airflow.Prefix }

func (p *prefixText) take(n *yaml.Node) error {
	if n.Tag != "!!str" {
		return errors.New("must be text or null")
	}
	p.Prefix = airflow.NewPrefix(n.Value)
	return nil
}

func (p *prefixText) takeNull() { p.Prefix = airflow.Prefix{} }

func (p prefixText) give() any {
	if p.Null() {
		return nil
	}
	return p.Text()
}

// yesNo is true or false.
type yesNo bool

func (f *yesNo) take(n *yaml.Node) error {
	if n.Tag != "!!bool" || n.Decode((*bool)(f)) != nil {
		return errors.New("must be true or false")
	}
	return nil
}

// mark is true or nothing said.
type mark bool

func (m *mark) take(n *yaml.Node) error { return (*yesNo)(m).take(n) }

// span is a time, as a number of seconds or as text with a unit.
type span time.Duration

func (s *span) take(n *yaml.Node) error {
	var d time.Duration
	var err error
	if n.Tag == "!!int" || n.Tag == "!!float" {
		var seconds float64
		if n.Decode(&seconds) != nil {
			return errNoSpan
		}
		d, err = spanOfSeconds(seconds)
	} else {
		d, err = spanOfText(n.Value)
	}
	*s = span(d)
	return err
}

func (s span) give() any { return shortDuration(time.Duration(s)) }

// interval is a time between two looks at a list.
type interval struct{ span }

func (i *interval) take(n *yaml.Node) error {
	if err := i.span.take(n); err != nil {
		return err
	}
	return listIntervalProblem(time.Duration(i.span))
}

// share is a part of one.
type share float64

func (s *share) take(n *yaml.Node) error {
	if n.Decode((*float64)(s)) != nil || !(*s > 0 && *s <= 1) {
		return errNoShare
	}
	return nil
}

// shortDuration writes 5m rather than 5m0s.
func shortDuration(d time.Duration) string {
	s := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if len(s) > len(zero) && s[len(s)-len(zero):] == zero {
			s = s[:len(s)-2]
		}
	}
	return s
}

// taker is a single value of a document.
type taker interface{ take(n *yaml.Node) error }

// nullTaker is a single value for which null means something; for the others it is as good as nothing.
type nullTaker interface{ takeNull() }

// giver says how a value is written.
type giver interface{ give() any }

// defaulter is a part of a document that is not empty where nothing is written.
type defaulter interface{ setDefaults() }

// prepare sets the defaults of a part of a document and of the parts in it.
func prepare(v reflect.Value) {
	if d, ok := v.Addr().Interface().(defaulter); ok {
		d.setDefaults()
	}
	if v.Kind() == reflect.Struct && !isValue(v) {
		for i := range v.NumField() {
			if v.Type().Field(i).Tag.Get("yaml") != "-" {
				prepare(v.Field(i))
			}
		}
	}
}

func isValue(v reflect.Value) bool {
	_, ok := v.Addr().Interface().(taker)
	return ok
}

// encoder writes a document as YAML. What the code says of a field stands before it where it comes first, unless said is
// nil.
type encoder struct{ said map[string]bool }

func (e encoder) encode(v reflect.Value) *yaml.Node {
	n := &yaml.Node{}
	switch g, ok := v.Interface().(giver); {
	case ok:
		n = scalar(g.give())
	case v.Kind() == reflect.Struct:
		n.Kind = yaml.MappingNode
		for i := range v.NumField() {
			field := v.Type().Field(i)
			key := field.Tag.Get("yaml")
			if field.Anonymous {
				n.Content = append(n.Content, e.encode(v.Field(i)).Content...)
				continue
			}
			if key == "-" || omitted(v.Field(i)) {
				continue
			}
			name := scalar(key)
			if doc := field.Tag.Get("doc"); e.said != nil && !e.said[doc] {
				e.said[doc] = true
				name.HeadComment = doc
			}
			n.Content = append(n.Content, name, e.encode(v.Field(i)))
		}
	case v.Kind() == reflect.Slice:
		n.Kind = yaml.SequenceNode
		for i := range v.Len() {
			n.Content = append(n.Content, e.encode(v.Index(i)))
			if k := v.Type().Elem().Kind(); k != reflect.Struct || isValue(v.Index(i)) {
				n.Style = yaml.FlowStyle
			}
		}
	default:
		n = scalar(v.Interface())
	}
	return n
}

func scalar(value any) *yaml.Node {
	n := &yaml.Node{}
	switch value := value.(type) {
	case nil:
		n.Kind, n.Tag, n.Value = yaml.ScalarNode, "!!null", "null"
	default:
		if err := n.Encode(value); err != nil { // plain types only come here
			n.SetString(fmt.Sprint(value))
		}
	}
	return n
}

// omitted tells whether a field says nothing: it is empty and empty is what it would be without it.
func omitted(v reflect.Value) bool {
	switch value := v.Interface().(type) {
	case hidden:
		return value.Len() == 0
	case group:
		return value.id == 0
	case prefixText, yesNo, span, interval, share:
		return false
	}
	if v.Kind() == reflect.Struct {
		for i := range v.NumField() {
			if v.Type().Field(i).Tag.Get("yaml") != "-" && !omitted(v.Field(i)) {
				return false
			}
		}
		return true
	}
	return v.Kind() == reflect.Slice && v.Len() == 0 || v.Kind() == reflect.Bool && !v.Bool() || v.Kind() == reflect.String && v.Len() == 0
}
