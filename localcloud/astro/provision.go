package astro

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"
)

// Organization is an Organization with what is in it.
type Organization struct {
	ID         string
	Name       string // "" is the id
	Product    string // HOSTED or HYBRID; "" is HOSTED
	Workspaces []Workspace
	Tokens     []Token
	// ShowSecrets lets tokens read the values of secret environment objects, the Organization's "Environment Secrets
	// Fetching".
	ShowSecrets bool `yaml:"showSecrets"`
}

// Workspace is a Workspace with its Deployments.
type Workspace struct {
	ID          string
	Name        string // "" is the id
	Deployments []Deployment
}

// Deployment is a Deployment. What an API client changed in it stays when it is provisioned again.
type Deployment struct {
	ID          string
	Name        string // "" is the id
	Type        string // STANDARD, DEDICATED or HYBRID; "" is STANDARD
	Hibernating bool   // of development mode, and asleep
	Variables   []Variable
}

// Variable is an environment variable of a Deployment.
type Variable struct {
	Key, Value string
	Secret     bool // the API does not give the value away
}

type organization struct {
	Organization
	created time.Time
}

type workspace struct {
	id, name, organization string
	created                time.Time
}

// identifier matches what can stand in a path as it is. Real ids are of the form c[a-z0-9]{24}.
var identifier = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// Add makes an Organization, or takes the place of the one with its id. Errors name the field that is wrong; nothing is
// made then.
func (s *Service) Add(o Organization) error {
	if err := check(&o); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.cfg.Now().UTC().Truncate(time.Millisecond)
	s.organizations[o.ID] = &organization{o, now}
	for _, w := range o.Workspaces {
		s.workspaces[w.ID] = &workspace{w.ID, w.Name, o.ID, now}
		for _, d := range w.Deployments {
			if err := s.addDeployment(o.ID, w.ID, d, now); err != nil {
				return err
			}
		}
	}
	for _, t := range o.Tokens {
		s.tokens[t.ID] = token{t, o.ID}
	}
	return nil
}

// check finds what is wrong and fills in what is left out.
func check(o *Organization) error {
	var problems []error
	fail := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	id := func(where, id string) {
		if !identifier.MatchString(id) {
			fail("%s = %q: an id has letters, digits, _ and -", where, id)
		}
	}
	id("ID", o.ID)
	o.Name, o.Product = cmp.Or(o.Name, o.ID), cmp.Or(o.Product, "HOSTED")
	o.Workspaces = slices.Clone(o.Workspaces)
	for i := range o.Workspaces {
		w := &o.Workspaces[i]
		id(fmt.Sprintf("Workspaces[%d].ID", i), w.ID)
		w.Name, w.Deployments = cmp.Or(w.Name, w.ID), slices.Clone(w.Deployments)
		for j := range w.Deployments {
			d, where := &w.Deployments[j], fmt.Sprintf("Workspaces[%d].Deployments[%d]", i, j)
			id(where+".ID", d.ID)
			d.Name, d.Type = cmp.Or(d.Name, d.ID), cmp.Or(d.Type, "STANDARD")
			if updateFields[d.Type] == nil {
				fail("%s.Type = %q: it is STANDARD, DEDICATED or HYBRID", where, d.Type)
			}
			for k, v := range d.Variables {
				if !variableKey.MatchString(v.Key) {
					fail("%s.Variables[%d].Key = %q: it is no name of a variable", where, k, v.Key)
				}
			}
		}
	}
	o.Tokens = slices.Clone(o.Tokens)
	for i := range o.Tokens {
		t := &o.Tokens[i]
		where := fmt.Sprintf("Tokens[%d]", i)
		id(where+".ID", t.ID)
		t.Scope = cmp.Or(t.Scope, OrganizationScope)
		if writers[t.Scope] == nil {
			fail("%s.Scope = %q: it is ORGANIZATION, WORKSPACE or DEPLOYMENT", where, t.Scope)
		}
		if (t.Scope == OrganizationScope) != (t.EntityID == "") {
			fail("%s.EntityID: it is there for the scopes WORKSPACE and DEPLOYMENT, and for no other", where)
		}
	}
	return errors.Join(problems...)
}

// addDeployment keeps what was changed in one that is there.
func (s *Service) addDeployment(organization, workspace string, p Deployment, now time.Time) error {
	if d := s.deployments[p.ID]; d != nil && d.Type == p.Type {
		if d.Organization == organization && d.Workspace == workspace && d.Status == status(p) {
			return nil
		}
		d.Organization, d.Workspace, d.Status = organization, workspace, status(p)
		return s.kept.deployments.Put(d.ID, d)
	}
	d := &deployment{
		ID: p.ID, Name: p.Name, Type: p.Type, Organization: organization, Workspace: workspace, Status: status(p),
		Created: now, Updated: now, Settings: newSettings(p),
	}
	for _, v := range p.Variables {
		d.Variables = append(d.Variables, variable{Key: v.Key, Value: v.Value, Secret: v.Secret, Updated: now})
	}
	if err := s.kept.deployments.Put(d.ID, d); err != nil {
		return err
	}
	s.deployments[d.ID] = d
	return nil
}

func status(p Deployment) string {
	if p.Hibernating {
		return "HIBERNATING"
	}
	return "HEALTHY"
}

// newSettings are the settings of a Deployment that was just made in the UI, as the specification's examples have them.
func newSettings(p Deployment) map[string]json.RawMessage {
	settings := map[string]string{
		"contactEmails": `["data@example.com"]`, "description": `"A Deployment of the local cloud"`, "executor": `"CELERY"`,
		"isCicdEnforced": `false`, "isDagDeployEnabled": `true`,
		"workerQueues": `[{"id":"cqueuedefault000000000001","name":"default","isDefault":true,"astroMachine":"A5",` +
			`"maxWorkerCount":10,"minWorkerCount":0,"workerConcurrency":5}]`,
	}
	if p.Type == "HYBRID" {
		settings["scheduler"] = `{"au":5,"replicas":1}`
		settings["workerQueues"] = `[{"id":"cqueuedefault000000000001","name":"default","isDefault":true,` +
			`"nodePoolId":"cnodepool0000000000000001","maxWorkerCount":10,"minWorkerCount":1,"workerConcurrency":16}]`
	} else {
		settings["defaultTaskPodCpu"], settings["defaultTaskPodMemory"] = `"0.25"`, `"0.5Gi"`
		settings["resourceQuotaCpu"], settings["resourceQuotaMemory"] = `"10"`, `"20Gi"`
		settings["isHighAvailability"], settings["schedulerSize"] = `false`, `"SMALL"`
		settings["isDevelopmentMode"] = fmt.Sprint(p.Hibernating)
	}
	if p.Hibernating && p.Type != "HYBRID" {
		settings["scalingSpec"] = `{"hibernationSpec":{"schedules":[{"description":"at night","hibernateAtCron":"0 20 * * *",` +
			`"wakeAtCron":"0 7 * * *","isEnabled":true}],"override":{"isHibernating":true,"overrideUntil":"2099-01-01T00:00:00Z"}}}`
	}
	raw := make(map[string]json.RawMessage, len(settings))
	for name, value := range settings {
		raw[name] = json.RawMessage(value)
	}
	return raw
}
