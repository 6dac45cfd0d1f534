package config

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/airlock-secrets/airlock/internal/airflow"
	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/secret"
)

// Agent is everything that an agent needs to know. Make one with LoadAgent.
type Agent struct {
	Vaults []Vault                            // at least one
	Routes []Route                            // at least one; in the order in which they are tried
	Never  map[airflow.Kind][]airflow.Pattern // ids that are not looked up
	Policy []Rule                             // who may look up what; none: the agent's own user and root everything
	// AuditFile is where lookups are written down; "-" is standard output, "" is nowhere.
	AuditFile string
	Listen    Listen
	Remote    Remote // callers by TCP, where Listen has an address for them

	Warnings []string // what is accepted and yet deserves a look, for the log

	doc   document           // what is in force, as a document
	files map[string]content // what was read for it
}

// Vault is one vault with its name, its credential, its naming and the times of its cache.
type Vault struct {
	Name string // unique
	Config
}

// Source is where an agent's configuration comes from.
type Source struct {
	// File is the path of a YAML document or of a JSON object with kwargs; "-" is Stdin, "" is the environment alone.
	File   string
	Stdin  io.Reader
	Getenv Getenv
}

// MaxFile is the most bytes of a configuration file.
const MaxFile = 1 << 20

// LoadAgent reads and checks an agent's configuration. The environment's settings come before the file's. Its error, of
// kind Usage, tells every problem: where, and never what.
func LoadAgent(s Source) (Agent, error) {
	if s.File == "" {
		c, err := FromEnvironment(s.Getenv)
		return ofKwargs(c, err, s.Getenv)
	}
	r := reader{getenv: s.Getenv, files: map[string]content{}}
	name, data, err := r.open(s)
	if err != nil {
		return Agent{files: r.files}, err
	}
	if isKwargs(data) {
		c, err := FromKwargs(data, s.Getenv)
		if c.ClientSecret.Len() > 0 {
			err = errors.Join(err, r.exposed)
		}
		a, err := ofKwargs(c, errors.Join(err, r.writable), s.Getenv)
		a.files = r.files
		return a, err
	}
	d := &decoder{file: name}
	doc := d.document(data)
	applyEnvironment(&doc, s.Getenv, &d.problems)
	a := Agent{doc: doc}
	r.dir = filepath.Dir(s.File)
	for i := range doc.Vaults {
		a.Vaults = append(a.Vaults, r.vault(d, &doc, i))
	}
	if len(d.problems) == 0 && len(a.Vaults) == 0 {
		d.problems = append(d.problems, fault.New(fault.Usage, name+": no vault is named", `begin with: vaults: [{url: "https://NAME.vault.azure.net/"}]`))
	}
	a.nameVaults(d)
	if len(d.problems) == 0 {
		a.route(d)
		a.listen(d, &r)
		a.guard(d, r.dir)
	}
	for _, v := range a.Vaults {
		for _, w := range v.Warnings {
			a.Warnings = append(a.Warnings, fmt.Sprintf("vault %s: %s", v.Name, w))
		}
	}
	a.files = r.files
	d.problems = append(d.problems, r.writable)
	return a, d.err()
}

// isKwargs tells kwargs from a YAML document: they are an object, or tried to be one between quotes.
func isKwargs(data []byte) bool {
	text := bytes.TrimSpace(data)
	return len(text) == 0 || bytes.IndexByte([]byte("{[\"'"), text[0]) >= 0
}

// ofKwargs is the agent of one vault, whose kwargs are read already.
func ofKwargs(c Config, err error, getenv Getenv) (Agent, error) {
	c.AgentSocket, c.AgentURL, c.AgentTokenFile = "", "", "" // an agent asks its vault; which agent others ask is not its concern
	doc := document{Vaults: []vaultEntry{entryOf(c)}, Cache: cacheEntry{
		TTL: span(c.CacheTTL), NegativeTTL: span(c.NegativeTTL), MaxStale: span(c.MaxStale),
		ListInterval: interval{span(c.ListInterval)}, Prefetch: yesNo(c.Prefetch),
	}}
	problems := []error{err}
	applyEnvironment(&doc, getenv, &problems)
	doc.Cache.set(&c)
	a := Agent{
		Vaults:   []Vault{{Name: hostLabel(c.VaultURL), Config: c}},
		Routes:   []Route{{}},
		Listen:   Listen{IdleExit: time.Duration(doc.Listen.IdleExit)},
		Warnings: c.Warnings,
	}
	a.AuditFile = string(doc.Audit.File)
	doc.Vaults[0].Name = label(a.Vaults[0].Name)
	a.doc = doc
	return a, errors.Join(problems...)
}

// set puts the cache's settings into a vault's configuration.
func (e cacheEntry) set(c *Config) {
	c.CacheTTL, c.NegativeTTL, c.MaxStale = time.Duration(e.TTL), time.Duration(e.NegativeTTL), time.Duration(e.MaxStale)
	c.ListInterval, c.Prefetch = time.Duration(e.ListInterval.span), bool(e.Prefetch)
}

// settings are the environment variables that stand above a configuration's own settings.
var settings = map[string]func(*document) taker{
	"AIRLOCK_CACHE_TTL":    func(d *document) taker { return &d.Cache.TTL },
	"AIRLOCK_NEGATIVE_TTL": func(d *document) taker { return &d.Cache.NegativeTTL },
	"AIRLOCK_MAX_STALE":    func(d *document) taker { return &d.Cache.MaxStale },
	"AIRLOCK_AUDIT_FILE":   func(d *document) taker { return &d.Audit.File },
	"AIRLOCK_IDLE_EXIT":    func(d *document) taker { return &d.Listen.IdleExit },
}

func applyEnvironment(doc *document, getenv Getenv, problems *[]error) {
	for _, key := range slices.Sorted(maps.Keys(settings)) {
		value := getenv(key)
		if value == "" {
			continue
		}
		n := &yaml.Node{Kind: yaml.ScalarNode, Value: value}
		n.Tag = n.ShortTag() // a number is seconds here, too
		if err := settings[key](doc).take(n); err != nil {
			*problems = append(*problems, fault.New(fault.Usage, fmt.Sprintf("the environment variable %s %s", key, err)))
		}
	}
}

// reader reads the files that a configuration consists of.
type reader struct {
	getenv Getenv
	dir    string // of the configuration, for relative paths in it
	files  map[string]content

	exposed  error // why the configuration must hold no secret
	writable error // why it cannot be relied on
}

func (r *reader) open(s Source) (name string, data []byte, err error) {
	if s.File == "-" {
		data, err = io.ReadAll(io.LimitReader(s.Stdin, MaxFile))
		if err != nil {
			return "", nil, fault.Wrap(fault.Usage, err, "cannot read the configuration from standard input")
		}
		return "standard input", data, nil
	}
	name = filepath.Base(s.File)
	data, open, err := r.read(s.File)
	if err != nil {
		return "", nil, fault.Wrap(fault.Usage, err, "cannot read the configuration: "+err.Error())
	}
	const chmod = "make it private: chmod 600 "
	if open.readable != "" {
		r.exposed = fault.New(fault.Usage, fmt.Sprintf("%s holds a secret and %s", name, open.readable), chmod+s.File)
	}
	if open.writable != "" {
		r.writable = fault.New(fault.Usage, fmt.Sprintf("%s %s, who could send the agent elsewhere", name, open.writable), chmod+s.File)
	}
	return name, data, nil
}

func (r *reader) read(path string) ([]byte, openness, error) {
	data, open, err := readFile(path)
	r.files[path] = contentOf(data, err)
	return data, open, err
}

func readFile(path string) ([]byte, openness, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, openness{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, openness{}, err
	}
	data, err := io.ReadAll(io.LimitReader(f, MaxFile))
	return data, opennessOf(info), err
}

// content is a file's content as far as a change of it can be told; the zero value is a file that cannot be read.
type content [sha256.Size]byte

func contentOf(data []byte, err error) content {
	if err != nil {
		return content{}
	}
	return sha256.Sum256(data)
}

// Changed tells whether a file that was read for the configuration has another content now.
func (a Agent) Changed() bool {
	for path, before := range a.files {
		data, _, err := readFile(path)
		if contentOf(data, err) != before {
			return true
		}
	}
	return false
}

// Folders are where a change of the configuration can be seen: those of its files, and those that links lead to.
func (a Agent) Folders() []string {
	var all []string
	for path := range a.files {
		all = append(all, filepath.Dir(path))
		if real, err := filepath.EvalSymlinks(path); err == nil {
			all = append(all, filepath.Dir(real))
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// vault makes the configuration of one entry, and notes what is wrong with it.
func (r *reader) vault(d *decoder, doc *document, i int) Vault {
	e := &doc.Vaults[i]
	path := fmt.Sprintf("vaults[%d]", i)
	k := airflow.DefaultKwargs()
	k.Extra = nil
	k.Naming = airflow.Naming{
		ConnectionsPrefix: e.Connections.Prefix, VariablesPrefix: e.Variables.Prefix, ConfigPrefix: e.ConfigOptions.Prefix,
		Sep: string(e.Sep), MultiTeam: bool(e.MultiTeam),
	}
	k.VaultURL = string(e.URL)
	k.TenantID, k.ClientID = string(e.TenantID), string(e.ClientID)
	k.ManagedIdentityClientID, k.WorkloadIdentityTenantID = string(e.ManagedIdentity), string(e.WorkloadTenant)
	k.ClientSecret = r.clientSecret(d, e, path)
	if e.URL == "" && len(d.problems) == 0 {
		d.problem(e.At, path+".url", errors.New("is missing"))
	}
	c := around(k, r.getenv)
	doc.Cache.set(&c)
	c.VaultShare = float64(e.Share)
	c.warn()
	return Vault{Name: string(e.Name), Config: c}
}

// secretFile reads a file that holds a secret. A relative path starts at the configuration's folder.
func (r *reader) secretFile(from string) (path string, value secret.Value, err error) {
	path = from
	if !filepath.IsAbs(path) {
		path = filepath.Join(r.dir, path)
	}
	data, open, err := r.read(path)
	if err != nil {
		return path, secret.Value{}, fault.Wrap(fault.Usage, err, "cannot be read: "+err.Error())
	}
	if open.readable != "" {
		return path, secret.Value{}, fault.New(fault.Usage, open.readable, "make it private: chmod 600 "+path)
	}
	return path, secret.New(bytes.TrimRight(data, "\r\n")), nil
}

// clientSecret reads the client secret from where the entry has it.
func (r *reader) clientSecret(d *decoder, e *vaultEntry, path string) secret.Value {
	written, file, env := e.ClientSecret.Len() > 0, e.ClientSecretFile != "", e.ClientSecretEnv != ""
	fail := func(field, what string, hints ...string) secret.Value {
		d.problem(e.At, path+"."+field, fault.New(fault.Usage, what, hints...))
		return secret.Value{}
	}
	switch {
	case written && (file || env) || file && env:
		return fail("client_secret", "is given in more than one way")
	case written:
		if r.exposed != nil {
			d.problems = append(d.problems, r.exposed)
			r.exposed = nil // once
		}
		return e.ClientSecret.Value
	case file:
		_, value, err := r.secretFile(string(e.ClientSecretFile))
		if err != nil {
			return fail("client_secret_file", err.Error(), fault.HintsOf(err)...)
		}
		return value
	case env:
		value := r.getenv(string(e.ClientSecretEnv))
		if value == "" {
			return fail("client_secret_env", "names a variable that is not set")
		}
		return secret.FromString(value)
	}
	return secret.Value{}
}

// nameVaults names the vaults that have no name after their host, and refuses two of one name.
func (a *Agent) nameVaults(d *decoder) {
	first := map[string]int{}
	for i := range a.Vaults {
		v, e := &a.Vaults[i], &a.doc.Vaults[i]
		if v.Name == "" {
			v.Name = hostLabel(v.VaultURL)
			e.Name = label(v.Name)
		}
		if v.Name == "" {
			continue // its URL is wrong, and that is told
		}
		if line, taken := first[v.Name]; taken {
			d.problem(e.At, fmt.Sprintf("vaults[%d]", i), fault.New(fault.Usage,
				fmt.Sprintf("is called %q like the vault of line %d", v.Name, line), "give it another name"))
			continue
		}
		first[v.Name] = e.At
	}
}

// hostLabel is the first word of a URL's host; "" when there is none.
func hostLabel(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	name, _, _ := strings.Cut(u.Hostname(), ".")
	return name
}

// entryOf is the document's word for a vault.
func entryOf(c Config) vaultEntry {
	return vaultEntry{
		URL: vaultURL(c.VaultURL), TenantID: plainText(c.TenantID), ClientID: plainText(c.ClientID), ClientSecret: hidden{c.ClientSecret},
		ManagedIdentity: plainText(c.ManagedIdentityClientID), WorkloadTenant: plainText(c.WorkloadIdentityTenantID),
		Connections: prefixText{c.ConnectionsPrefix}, Variables: prefixText{c.VariablesPrefix}, ConfigOptions: prefixText{c.ConfigPrefix},
		Sep: plainText(c.Sep), MultiTeam: yesNo(c.MultiTeam), Share: share(c.VaultShare),
	}
}

// Document is what is in force, as a YAML document with every secret masked.
func (a Agent) Document() ([]byte, error) { return write(a.doc, false) }

// write formats a document.
func write(doc document, comments bool) ([]byte, error) {
	var out bytes.Buffer
	var e encoder
	if comments {
		e.said = map[string]bool{"": true}
	}
	to := yaml.NewEncoder(&out)
	to.SetIndent(2)
	err := to.Encode(e.encode(reflect.ValueOf(doc)))
	return out.Bytes(), errors.Join(err, to.Close())
}

// Same tells whether two vaults are the same in all that matters to what was read from them.
func (v Vault) Same(other Vault) bool {
	own, theirs := v.Config, other.Config
	equal := bytes.Equal(own.ClientSecret.Reveal(), theirs.ClientSecret.Reveal())
	for _, c := range []*Config{&own, &theirs} {
		c.ClientSecret, c.Warnings = secret.Value{}, nil
	}
	return equal && reflect.DeepEqual(own, theirs)
}
