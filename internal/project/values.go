package project

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/airlock-secrets/airlock/internal/airflow"
	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/yamlnode"
)

// Values is what the Remote Execution Agent's values.yaml shall say. Keys of the chart:
// https://www.astronomer.io/docs/astro/remote-execution-configure-secrets-backend
type Values struct {
	Class  string // of the backend
	Kwargs Kwargs // with the login; a client secret in them is used as a mark only and never written
	// ServiceAccount is the Kubernetes service account, made elsewhere, that all components run as; "" leaves them alone.
	ServiceAccount string
	// SecretName and SecretKey name the Kubernetes Secret that holds the client secret.
	SecretName, SecretKey string
}

// Keys that the webhook of Entra Workload ID looks for.
// https://learn.microsoft.com/azure/aks/workload-identity-overview#service-account-labels-and-annotations
const (
	identityLabel      = "azure.workload.identity/use"
	identityAnnotation = "azure.workload.identity/client-id"
)

// Variables of a client-secret login, which both backends' default chain of credentials reads.
const (
	envTenantID     = "AZURE_TENANT_ID"
	envClientID     = "AZURE_CLIENT_ID"
	envClientSecret = "AZURE_CLIENT_SECRET"
)

// EditValues edits values.yaml: the backend, its kwargs, and what the sign-in needs. All other bytes stay. Warnings name
// what it found and left. A key that stands twice, client ids that disagree and a layout that it cannot edit are errors of
// kind Usage.
func EditValues(name string, data []byte, v Values) (out []byte, warnings []string, err error) {
	y, err := openYAML(name, data)
	if err != nil {
		return nil, nil, err
	}
	if warnings, err = v.plan(y); err != nil {
		return nil, nil, err
	}
	out, ok := y.done()
	if !ok || !v.verified(y, out) {
		return nil, nil, fault.New(fault.Usage, name+": airlock cannot edit this layout; nothing was changed",
			"write lists and mappings as blocks, one entry a line, and end the file with a line break")
	}
	return out, warnings, nil
}

// plan collects the edits.
func (v Values) plan(y *yamlFile) (warnings []string, err error) {
	if err := v.sameClient(y); err != nil {
		return nil, err
	}
	if err := y.set(y.root, "secretBackend", text(v.Class)); err != nil {
		return nil, err
	}
	env := v.env()
	if err := v.commonEnv(y, env); err != nil {
		return nil, err
	}
	login := LoginOf(v.Kwargs)
	if login.Auth == ManagedIdentity {
		if err := y.setIn(y.root, "labels", pair(identityLabel, "true")); err != nil {
			return nil, err
		}
		if err := y.setIn(y.root, "annotations", pair(identityAnnotation, login.ClientID)); err != nil {
			return nil, err
		}
	}
	if v.ServiceAccount != "" {
		if err := y.setIn(y.root, "serviceAccount", v.accounts(y)...); err != nil {
			return nil, err
		}
	}
	return v.warn(y, login), nil
}

// env are the entries of commonEnv, in order.
func (v Values) env() []tree {
	login, kwargs := LoginOf(v.Kwargs), v.Kwargs.Clone()
	if login.Auth != ClientSecret {
		return []tree{envValue(airflow.EnvKwargs, string(kwargs.Line().Reveal()))}
	}
	kwargs.Delete("tenant_id", "client_id", "client_secret")
	ref := mapping(pair("name", v.SecretName), pair("key", v.SecretKey))
	return []tree{
		envValue(airflow.EnvKwargs, string(kwargs.Line().Reveal())),
		envValue(envTenantID, login.TenantID),
		envValue(envClientID, login.ClientID),
		mapping(pair("name", envClientSecret), field{"valueFrom", mapping(field{"secretKeyRef", ref})}),
	}
}

func envValue(name, value string) tree { return mapping(pair("name", name), pair("value", value)) }

func (v Values) commonEnv(y *yamlFile, env []tree) error {
	list := yamlnode.Value(y.root, "commonEnv")
	var added []tree
	for _, want := range env {
		name := want.fields[0].value.text
		var found *yaml.Node
		for _, item := range content(list) {
			if nameOf(item) != name {
				continue
			}
			if found != nil {
				return y.fail(item, "%s stands in commonEnv twice, first in line %d", name, found.Line)
			}
			found = item
		}
		switch {
		case found == nil:
			added = append(added, want)
		case sameKwargs(found, want):
		default:
			if err := y.swap(found, want.fields[1]); err != nil {
				return err
			}
		}
	}
	return y.appendItems(y.root, "commonEnv", added...)
}

// sameKwargs tells whether an entry holds the same JSON, however it is laid out.
func sameKwargs(item *yaml.Node, want tree) bool {
	value := yamlnode.Value(item, "value")
	if want.fields[0].value.text != airflow.EnvKwargs || value == nil || len(item.Content) != 4 {
		return same(item, want)
	}
	is, err := ParseKwargs([]byte(value.Value))
	shall, werr := ParseKwargs([]byte(want.fields[1].value.text))
	return err == nil && werr == nil && is.Equal(shall)
}

// swap gives an entry of an environment its value, or where its value comes from, in the place of the one that it has.
func (y *yamlFile) swap(item *yaml.Node, value field) error {
	for _, key := range []string{"value", "valueFrom"} {
		keyNode, old := yamlnode.Find(item, key)
		switch {
		case old == nil:
		case key == value.key:
			return y.replace(item, keyNode, old, value.value)
		case !y.simple(old):
			return y.fail(old, "%s has an anchor, an alias or a tag, which airlock does not edit", key)
		case isFlow(item):
			y.add(y.start(keyNode), y.end(old), quoted(value.key)+": "+value.value.flow())
			return nil
		default:
			y.add(y.start(keyNode), y.end(old), value.key+":"+value.value.block(item.Column-1, y.eol))
			return nil
		}
	}
	return y.insert(item, value)
}

func content(list *yaml.Node) []*yaml.Node {
	if list == nil || list.Kind != yaml.SequenceNode {
		return nil
	}
	return list.Content
}

func nameOf(item *yaml.Node) string {
	if n := yamlnode.Value(item, "name"); n != nil {
		return n.Value
	}
	return ""
}

// accounts are the service accounts of each component. The sentinel is a newer part of the chart and off by default.
func (v Values) accounts(y *yamlFile) []field {
	components := []string{"workers", "dagProcessor", "triggerer"}
	accounts := yamlnode.Value(y.root, "serviceAccount")
	sentinel := yamlnode.Value(y.root, "sentinel")
	if account := yamlnode.Value(accounts, "sentinel"); sentinel != nil || account != nil {
		components = append(components, "sentinel")
	}
	var fields []field
	for _, c := range components {
		fields = append(fields, field{c, mapping(field{"create", tree{literal: "false"}}, pair("name", v.ServiceAccount))})
	}
	return fields
}

// sameClient refuses a file that names another managed identity than the kwargs: one of the two is forgotten, and Azure
// would only say that the login failed.
func (v Values) sameClient(y *yamlFile) error {
	login := LoginOf(v.Kwargs)
	if login.Auth != ManagedIdentity {
		return nil
	}
	check := func(n *yaml.Node, what, id string) error {
		if id == "" || strings.EqualFold(id, login.ClientID) {
			return nil
		}
		return fault.New(fault.Usage, y.fail(n, "%s names the identity %s, and the project's kwargs name %s", what, id, login.ClientID).Msg,
			"delete the one that is wrong: in this file airlock writes it anew, in .env airlock init does")
	}
	accounts := yamlnode.Value(y.root, "serviceAccount")
	for _, in := range append([]*yaml.Node{y.root, accounts}, mapValues(accounts)...) {
		annotations := yamlnode.Value(in, "annotations")
		if id := yamlnode.Value(annotations, identityAnnotation); id != nil {
			if err := check(id, "the annotation "+identityAnnotation, id.Value); err != nil {
				return err
			}
		}
	}
	list := yamlnode.Value(y.root, "commonEnv")
	for _, item := range content(list) {
		if value := yamlnode.Value(item, "value"); value != nil && nameOf(item) == airflow.EnvKwargs {
			if k, err := ParseKwargs([]byte(value.Value)); err == nil {
				return check(value, "managed_identity_client_id", k.public("managed_identity_client_id"))
			}
		}
	}
	return nil
}

func mapValues(n *yaml.Node) []*yaml.Node {
	var values []*yaml.Node
	if n != nil && n.Kind == yaml.MappingNode {
		for i := 1; i < len(n.Content); i += 2 {
			values = append(values, n.Content[i])
		}
	}
	return values
}

// warn names what stands in the way and is not airlock's to change.
func (v Values) warn(y *yamlFile, login Login) []string {
	var warnings []string
	say := func(n *yaml.Node, format string, args ...any) {
		warnings = append(warnings, y.fail(n, format, args...).Msg)
	}
	common := yamlnode.Value(y.root, "commonEnv")
	for _, item := range content(common) {
		switch name := nameOf(item); {
		case name == airflow.EnvBackend:
			say(item, "%s stands beside secretBackend; remove it", name)
		case name == envClientSecret && login.Auth == ManagedIdentity:
			say(item, "%s signs in before the managed identity does; remove it", name)
		case name == airflow.EnvKwargs:
			if value := yamlnode.Value(item, "value"); value != nil {
				if k, err := ParseKwargs([]byte(value.Value)); err == nil && k.Text("client_secret").Len() > 0 {
					say(item, "the client secret stood in this file: if others have the file, add a new secret to the app and delete that one")
				}
			}
		}
	}
	workers := yamlnode.Value(y.root, "workers")
	components := content(workers)
	for _, key := range []string{"dagProcessor", "triggerer"} {
		if c := yamlnode.Value(y.root, key); c != nil {
			components = append(components, c)
		}
	}
	for _, c := range components {
		env := yamlnode.Value(c, "env")
		for _, item := range content(env) {
			if name := nameOf(item); name == airflow.EnvKwargs || name == airflow.EnvBackend {
				say(item, "%s of this component stands above commonEnv", name)
			}
		}
	}
	return warnings
}

// touched are the top-level keys that may change.
var touched = []string{"secretBackend", "commonEnv", "labels", "annotations", "serviceAccount"}

// verified reads what was written: all other keys mean what they meant, and a second run has nothing to do.
func (v Values) verified(before *yamlFile, out []byte) bool {
	after, err := openYAML(before.name, out)
	if err != nil {
		return false
	}
	if _, err := v.plan(after); err != nil || len(after.edits) > 0 {
		return false
	}
	was, is := rest(before.root), rest(after.root)
	return was != nil && reflect.DeepEqual(was, is)
}

// rest is what the document says besides what may change.
func rest(root *yaml.Node) map[string]any {
	var m map[string]any
	if root.Decode(&m) != nil {
		return nil
	}
	for _, key := range touched {
		delete(m, key)
	}
	return m
}

var secretKey = regexp.MustCompile(`(?i)(token|password|passwd|secret|api-?key|connection|credential|_conn_)`)

// publicKeys hold names and not what they name.
var publicKeys = []string{"secretBackend", "agentTokenSecretName", "imagePullSecretName", "apiKeySecret", "secretKeyRef", "secretName"}

// MaskValues hides in values.yaml what its key says is secret, and every value of an environment but the kwargs, of
// which it hides the credentials.
func MaskValues(before, after []byte) ([]byte, []byte) { return maskYAML(before), maskYAML(after) }

func maskYAML(data []byte) []byte {
	y, err := openYAML("", data)
	if err != nil {
		return []byte("[not shown: not YAML]\n")
	}
	y.mask(y.root, false)
	masked, ok := y.done()
	if !ok {
		return []byte("[not shown]\n")
	}
	return masked
}

func (y *yamlFile) mask(n *yaml.Node, secret bool) {
	switch n.Kind {
	case yaml.ScalarNode:
		if secret && n.Value != "" && n.Tag == "!!str" {
			y.add(y.start(n), y.end(n), "'"+hidden(false)+"'")
		}
	case yaml.SequenceNode:
		for _, c := range n.Content {
			y.mask(c, secret)
		}
	case yaml.MappingNode:
		name := nameOf(n)
		for i := 0; i+1 < len(n.Content); i += 2 {
			key, value := n.Content[i].Value, n.Content[i+1]
			switch {
			case key == "value" && name == airflow.EnvKwargs && value.Kind == yaml.ScalarNode:
				y.maskKwargs(value)
			case key == "value" && name != "" && name != envTenantID && name != envClientID:
				y.mask(value, true)
			case slices.Contains(publicKeys, key):
				y.mask(value, false)
			default:
				y.mask(value, secret || secretKey.MatchString(key))
			}
		}
	}
}

func (y *yamlFile) maskKwargs(n *yaml.Node) {
	k, err := ParseKwargs([]byte(n.Value))
	if err != nil {
		y.add(y.start(n), y.end(n), fmt.Sprintf("'%s'", hidden(false)))
		return
	}
	masked := k.masked(func(string) string { return hidden(false) })
	if !masked.Equal(k) {
		y.add(y.start(n), y.end(n), scalar(string(masked.Line().Reveal())))
	}
}
