package doctor

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/airlock-secrets/airlock/internal/airflow"
	"github.com/airlock-secrets/airlock/internal/astro"
	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/project"
)

// checkDeployment compares the Deployment's variables with those here.
func (v *visit) checkDeployment(ctx context.Context) Result {
	client, err := v.Astro()
	if err != nil {
		return brokenBy(err)
	}
	d, err := client.Find(ctx, v.Deployment)
	if err != nil {
		return brokenBy(err)
	}
	wanted, err := v.Wanted()
	if err != nil {
		return brokenBy(err)
	}
	push := "airlock push " + shellWord(v.Deployment)
	r := Result{State: OK}
	var same, unknown []string
	for i, change := range astro.NewPlan(d, wanted).Changes {
		at := slices.IndexFunc(d.Variables, func(has astro.Variable) bool { return has.Key == change.Key })
		alike := at >= 0 && d.Variables[at].Known && bytes.Equal(d.Variables[at].Value.Reveal(), wanted[i].Value.Reveal())
		switch {
		case change.Action == astro.Create:
			r.broke(change.Key+" is not set in the Deployment", push)
		case !change.WasSecret && v.holdsCredential(change.Key):
			r.broke(change.Key+" holds a credential and is not marked as secret: whoever sees the Deployment can read it", push,
				"then make a new credential: others may have read this one")
		case change.Action == astro.Unknown:
			unknown = append(unknown, change.Key)
		case alike:
			same = append(same, change.Key)
		default:
			r.warn(change.Key+" is another in the Deployment than here", push)
		}
	}
	if len(unknown) > 0 {
		r.Notes = append(r.Notes, "secret in the Deployment, so that they cannot be compared: "+strings.Join(unknown, ", "))
	}
	for _, has := range d.Variables {
		if concerns(has.Key) && !slices.ContainsFunc(wanted, func(w astro.Wanted) bool { return w.Key == has.Key }) {
			r.warn(has.Key+" is set in the Deployment and not here", "see what it has: astro deployment variable list --deployment-id "+d.ID)
		}
	}
	if d.Hibernating() {
		r.Notes = append(r.Notes, "it hibernates: what is written takes effect when it wakes")
	}
	slices.Sort(r.Remedies)
	r.Remedies = slices.Compact(r.Remedies)
	if r.State == OK {
		r.Found = fmt.Sprintf("%s (%s) has what stands here: %d the same, %d secret", d.Name, d.ID, len(same), len(unknown))
	}
	return r
}

// holdsCredential tells whether a variable's value here holds one.
func (v *visit) holdsCredential(key string) bool {
	return key == "AZURE_CLIENT_SECRET" || v.conf.ClientSecret.Len() > 0 &&
		(key == airflow.EnvKwargs || key == airflow.EnvKwargPrefix+"CLIENT_SECRET")
}

// shellWord keeps a name as it is when a shell would, and else quotes it.
func shellWord(text string) string {
	plain := func(r rune) bool {
		return r == '-' || r == '_' || r == '.' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
	}
	if text != "" && strings.IndexFunc(text, func(r rune) bool { return !plain(r) }) < 0 {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// checkValues compares the values of a Remote Execution Agent with the kwargs: what airlock values would change is what
// differs.
func (v *visit) checkValues(context.Context) Result {
	path := v.Values
	if !filepath.IsAbs(path) {
		path = filepath.Join(v.Dir, path)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return brokenBy(fault.Wrap(fault.Usage, err, "cannot read "+v.Values,
			"Astro gives the file when agents are registered: Deployment > Agents > Register Agents"))
	}
	kwargs, err := project.ParseKwargs([]byte(v.env(airflow.EnvKwargs)))
	if err != nil {
		return brokenBy(err)
	}
	name, key := secretRef(data)
	want := project.Values{Class: v.class, Kwargs: kwargs, SecretName: name, SecretKey: key}
	after, warnings, err := project.EditValues(v.Values, data, want)
	if err != nil {
		return brokenBy(err)
	}
	r := Result{State: OK}
	for _, w := range warnings {
		r.warn(w)
	}
	diff := project.Diff(&project.File{Name: filepath.Base(v.Values), Old: data, New: after}, project.MaskValues)
	if string(after) != string(data) {
		r.broke("it does not say what the kwargs say", "airlock values "+shellWord(v.Values))
		for line := range strings.Lines(diff) {
			if !strings.HasPrefix(line, "+++ ") && !strings.HasPrefix(line, "--- ") && strings.IndexAny(line, "+-") == 0 {
				r.Notes = append(r.Notes, strings.TrimRight(line, "\r\n"))
			}
		}
	}
	if r.State == OK {
		r.Found = "it says what the kwargs say"
	}
	return r
}

// secretRef is the Kubernetes Secret that a file takes the client secret from, which is its owner's choice.
func secretRef(data []byte) (name, key string) {
	var values struct {
		CommonEnv []struct {
			Name      string `yaml:"name"`
			ValueFrom struct {
				SecretKeyRef struct{ Name, Key string } `yaml:"secretKeyRef"`
			} `yaml:"valueFrom"`
		} `yaml:"commonEnv"`
	}
	_ = yaml.Unmarshal(data, &values) // EditValues says what is wrong with it
	for _, e := range values.CommonEnv {
		if ref := e.ValueFrom.SecretKeyRef; e.Name == "AZURE_CLIENT_SECRET" && ref.Name != "" {
			return ref.Name, ref.Key
		}
	}
	return "airlock", "client-secret" // as airlock values has it
}
