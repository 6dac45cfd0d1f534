package astro

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
)

// deployment is a Deployment as the store keeps it.
type deployment struct {
	ID, Name, Type, Status  string
	Organization, Workspace string
	Created, Updated        time.Time
	UpdatedBy               string // id of a token
	// Settings are the fields of an update, as the last one had them, without those that stand here by themselves.
	Settings  map[string]json.RawMessage
	Variables []variable
}

type variable struct {
	Key, Value string
	Secret     bool
	Updated    time.Time
}

var variableKey = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// updateFields are the fields of an update by the Deployment's type; true stands for those that must be there.
// Source: the specification's UpdateStandardDeploymentRequest, UpdateDedicatedDeploymentRequest and
// UpdateHybridDeploymentRequest.
var updateFields = map[string]map[string]bool{"STANDARD": hosted, "DEDICATED": hosted, "HYBRID": {
	"contactEmails": false, "description": false, "drWorkloadIdentity": false, "environmentVariables": true, "executor": true,
	"isCicdEnforced": true, "isDagDeployEnabled": true, "name": true, "scheduler": true, "taskPodNodePoolId": false, "type": true,
	"workerQueues": false, "workloadIdentity": false, "workspaceId": true,
}}

var hosted = map[string]bool{
	"contactEmails": false, "defaultTaskPodCpu": false, "defaultTaskPodMemory": false, "description": false,
	"drWorkloadIdentity": false, "environmentVariables": true, "executor": true, "isCicdEnforced": true,
	"isDagDeployEnabled": true, "isDevelopmentMode": false, "isHighAvailability": true, "name": true, "remoteExecution": false,
	"resourceQuotaCpu": false, "resourceQuotaMemory": false, "scalingSpec": false, "schedulerSize": true, "type": true,
	"workerQueues": false, "workloadIdentity": false, "workspaceId": true,
}

// ownFields are kept beside the settings.
var ownFields = []string{"environmentVariables", "name", "type", "workspaceId"}

// keptFields stay what they are if an update leaves them out, unlike all others. Answers do not have them: they have the
// identity in effect, which may be Astro's own default.
// Source: the Astro CLI says so where it builds an update.
var keptFields = []string{"workloadIdentity", "drWorkloadIdentity"}

// What the objects within an update consist of. An answer holds more in each, which an update must not.
type (
	queueRequest struct {
		AstroMachine        *string `json:"astroMachine,omitempty"`
		ID                  *string `json:"id,omitempty"`
		IsDefault           bool    `json:"isDefault"`
		MaxWorkerCount      int     `json:"maxWorkerCount"`
		MinWorkerCount      int     `json:"minWorkerCount"`
		Name                string  `json:"name"`
		NodePoolID          *string `json:"nodePoolId,omitempty"`
		PodEphemeralStorage *string `json:"podEphemeralStorage,omitempty"`
		WorkerConcurrency   int     `json:"workerConcurrency"`
	}
	scalingRequest struct {
		HibernationSpec *struct {
			Override *struct {
				IsHibernating *bool   `json:"isHibernating,omitempty"`
				OverrideUntil *string `json:"overrideUntil,omitempty"`
			} `json:"override,omitempty"`
			Schedules *[]struct {
				Description     *string `json:"description,omitempty"`
				HibernateAtCron string  `json:"hibernateAtCron"`
				IsEnabled       bool    `json:"isEnabled"`
				WakeAtCron      string  `json:"wakeAtCron"`
			} `json:"schedules,omitempty"`
		} `json:"hibernationSpec,omitempty"`
	}
	remoteRequest struct {
		AllowedIPAddressRanges *[]string `json:"allowedIpAddressRanges,omitempty"`
		Enabled                bool      `json:"enabled"`
		TaskLogBucket          *string   `json:"taskLogBucket,omitempty"`
		TaskLogURLPattern      *string   `json:"taskLogUrlPattern,omitempty"`
	}
	schedulerRequest struct {
		AU       *int `json:"au,omitempty"`
		Replicas *int `json:"replicas,omitempty"`
	}
	variableRequest struct {
		IsSecret bool    `json:"isSecret"`
		Key      string  `json:"key"`
		Value    *string `json:"value,omitempty"`
	}
)

// shapes give a value to decode each field into, in order to check it.
var shapes = map[string]func() any{
	"contactEmails": func() any { return new([]string) }, "workerQueues": func() any { return new([]queueRequest) },
	"scalingSpec": func() any { return new(scalingRequest) }, "remoteExecution": func() any { return new(remoteRequest) },
	"scheduler":      func() any { return new(schedulerRequest) },
	"isCicdEnforced": func() any { return new(bool) }, "isDagDeployEnabled": func() any { return new(bool) },
	"isDevelopmentMode": func() any { return new(bool) }, "isHighAvailability": func() any { return new(bool) },
}

// allowed are the values of the fields that have a choice.
var allowed = map[string][]string{
	"executor":      {"CELERY", "KUBERNETES", "ASTRO"},
	"schedulerSize": {"SMALL", "MEDIUM", "LARGE", "EXTRA_LARGE"},
}

func (s *Service) listDeployments(c *call) (any, error) {
	query := c.URL.Query()
	var all []*deployment
	for _, d := range s.deployments {
		if c.caller.sees(d) && chosen(query["deploymentIds"], d.ID) && chosen(query["names"], d.Name) &&
			chosen(query["workspaceIds"], d.Workspace) && d.Organization == c.organization.ID {
			all = append(all, d)
		}
	}
	slices.SortFunc(all, func(a, b *deployment) int {
		return cmp.Or(cmp.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)), cmp.Compare(a.ID, b.ID))
	})
	part, offset, limit, err := page(c, all)
	if err != nil {
		return nil, err
	}
	bodies := make([]any, len(part))
	for i, d := range part {
		bodies[i] = s.body(d)
	}
	return map[string]any{"deployments": bodies, "offset": offset, "limit": limit, "totalCount": len(all)}, nil
}

// chosen says whether a list of a query has a value; an empty list has all. Lists may be written with commas, too.
func chosen(list []string, value string) bool {
	return len(list) == 0 || slices.Contains(strings.Split(strings.Join(list, ","), ","), value)
}

// deployment finds the one that a path names.
func (s *Service) deployment(c *call) (*deployment, error) {
	id := c.PathValue("deployment")
	d := s.deployments[id]
	switch {
	case d == nil || d.Organization != c.organization.ID:
		return nil, errNotFound("Deployment", id)
	case !c.caller.sees(d):
		return nil, errForbidden()
	}
	return d, nil
}

func (s *Service) getDeployment(c *call) (any, error) {
	d, err := s.deployment(c)
	if err != nil {
		return nil, err
	}
	return s.body(d), nil
}

func (s *Service) updateDeployment(c *call) (any, error) {
	d, err := s.deployment(c)
	if err != nil {
		return nil, err
	}
	if !c.caller.writes {
		return nil, errForbidden()
	}
	fields := map[string]json.RawMessage{}
	if err := c.read(&fields); err != nil {
		return nil, err
	}
	problems := checkUpdate(d, fields)
	var variables []variableRequest
	if raw, found := fields["environmentVariables"]; found {
		if err := strictly(raw, &variables); err != nil {
			problems = append(problems, field("environmentVariables", "type", "must be a list of key, value and isSecret"))
		}
	}
	replaced, more := replace(d.Variables, variables, c.now)
	if problems = append(problems, more...); len(problems) > 0 {
		return nil, errFields(problems...)
	}
	updated := *d
	updated.Variables, updated.UpdatedBy = replaced, c.caller.tokenID
	_ = json.Unmarshal(fields["name"], &updated.Name) // was checked
	updated.Settings = maps.Clone(fields)
	for _, own := range ownFields {
		delete(updated.Settings, own)
	}
	for _, name := range keptFields {
		if raw, found := d.Settings[name]; found && updated.Settings[name] == nil {
			updated.Settings[name] = raw
		}
	}
	// Two updates are never of the same moment, so that each can be told from the one before.
	if updated.Updated = c.now; !c.now.After(d.Updated) {
		updated.Updated = d.Updated.Add(time.Millisecond)
	}
	if err := s.kept.deployments.Put(d.ID, &updated); err != nil {
		return nil, err
	}
	*d = updated
	return s.body(d), nil
}

// checkUpdate finds what is wrong with an update, variables apart.
func checkUpdate(d *deployment, fields map[string]json.RawMessage) (problems []FieldError) {
	known := updateFields[d.Type]
	for _, name := range slices.Sorted(maps.Keys(known)) {
		if raw, found := fields[name]; known[name] && (!found || bytes.Equal(raw, []byte("null"))) {
			problems = append(problems, field(name, "required", "is required"))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if _, ok := known[name]; !ok {
			problems = append(problems, field(name, "unknown", "is not a field of this request"))
			continue
		}
		if name == "environmentVariables" {
			continue
		}
		into := any(new(string))
		if shape := shapes[name]; shape != nil {
			into = shape()
		}
		if strictly(fields[name], into) != nil {
			problems = append(problems, field(name, "type", "does not have the form of this request"))
			continue
		}
		text, isText := into.(*string)
		switch {
		case isText && allowed[name] != nil && !slices.Contains(allowed[name], *text):
			problems = append(problems, field(name, "oneof", "must be one of "+strings.Join(allowed[name], ", ")))
		case name == "name" && *text == "":
			problems = append(problems, field(name, "required", "is required"))
		case name == "type" && *text != d.Type:
			problems = append(problems, field(name, "oneof", "cannot change"))
		case name == "workspaceId" && *text != d.Workspace:
			problems = append(problems, field(name, "oneof", "must be the Deployment's Workspace"))
		}
	}
	return problems
}

// replace is the whole-list replacement: what is not in the request is gone. A secret without a value stays what it is; an
// empty value empties it. A variable whose value and secrecy are the same keeps its time.
func replace(old []variable, requested []variableRequest, now time.Time) (all []variable, problems []FieldError) {
	before := map[string]variable{}
	for _, v := range old {
		before[v.Key] = v
	}
	seen := map[string]bool{}
	for i, r := range requested {
		where := fmt.Sprintf("environmentVariables[%d]", i)
		was, existed := before[r.Key]
		v := variable{Key: r.Key, Secret: r.IsSecret, Updated: now}
		switch {
		case !variableKey.MatchString(r.Key):
			problems = append(problems, field(where+".key", "pattern", "must have letters, digits and _, and no digit first"))
		case seen[r.Key]:
			problems = append(problems, field(where+".key", "unique", "stands twice"))
		case existed && was.Secret && !r.IsSecret:
			problems = append(problems, field(where+".isSecret", "immutable", "cannot be taken from a secret"))
		case r.Value != nil:
			v.Value = *r.Value
		case existed && (was.Secret || r.IsSecret):
			v.Value = was.Value
		}
		seen[r.Key] = true
		if unsaid := was.Secret && r.Value == nil; existed && was.Secret == v.Secret && was.Value == v.Value && (!v.Secret || unsaid) {
			v.Updated = was.Updated
		}
		if existed && v.Updated != was.Updated && !v.Updated.After(was.Updated) {
			v.Updated = was.Updated.Add(time.Millisecond)
		}
		all = append(all, v)
	}
	return all, problems
}

const timeFormat = "2006-01-02T15:04:05.000Z"

// body is a Deployment as an answer has it.
func (s *Service) body(d *deployment) any {
	host := d.Organization + ".astronomer.run/d" + d.ID
	all := map[string]any{
		"id": d.ID, "name": d.Name, "type": d.Type, "status": d.Status, "organizationId": d.Organization, "workspaceId": d.Workspace,
		"namespace": "local-" + strings.ToLower(d.ID), "createdAt": d.Created.Format(timeFormat), "updatedAt": d.Updated.Format(timeFormat),
		"createdBy": subject(""), "updatedBy": subject(d.UpdatedBy),
		"airflowVersion": "3.1.0", "astroRuntimeVersion": "3.1-1", "runtimeVersion": "3.1-1",
		"apiUrl": "https://" + host + "/api/v2", "uiUrl": "https://cloud.astronomer.io/" + d.Workspace + "/deployments/" + d.ID,
		"webServerUrl": "https://" + host, "webServerAirflowApiUrl": "https://" + host + "/api/v2", "webServerIngressHostname": host,
		"webServerCpu": "500m", "webServerMemory": "1024Mi", "schedulerCpu": "1", "schedulerMemory": "2Gi", "schedulerReplicas": 1,
		"imageRepository": "images.astronomer.cloud/" + d.Organization + "/" + d.ID, "imageTag": "",
		"effectiveWorkloadIdentity": "", "externalIPs": []string{},
		"environmentVariables": variablesBody(d.Variables),
	}
	if w := s.workspaces[d.Workspace]; w != nil {
		all["workspaceName"] = w.name
	}
	for name, raw := range d.Settings {
		all[name] = raw
	}
	for _, name := range keptFields {
		delete(all, name)
	}
	if raw, found := d.Settings["workloadIdentity"]; found {
		all["effectiveWorkloadIdentity"] = raw
	}
	if raw, found := d.Settings["scheduler"]; found {
		var scheduler schedulerRequest
		_ = json.Unmarshal(raw, &scheduler) // was checked
		delete(all, "scheduler")
		all["schedulerAu"], all["schedulerReplicas"] = scheduler.AU, scheduler.Replicas
	}
	for name, add := range answersMore {
		if raw, found := d.Settings[name]; found {
			var value any
			_ = json.Unmarshal(raw, &value) // was checked
			add(value)
			all[name] = value
		}
	}
	if d.Status == "HIBERNATING" {
		all["scalingStatus"] = map[string]any{"hibernationStatus": map[string]any{"isHibernating": true, "reason": "Hibernating by override"}}
	}
	return all
}

// answersMore adds to the objects of an update what only an answer has.
var answersMore = map[string]func(any){
	"workerQueues": func(queues any) {
		list, _ := queues.([]any)
		for _, q := range list {
			if queue, ok := q.(map[string]any); ok {
				queue["podCpu"], queue["podMemory"] = "1", "2Gi"
			}
		}
	},
	"remoteExecution": func(remote any) {
		if r, ok := remote.(map[string]any); ok {
			r["remoteApiUrl"] = "https://local.external.astronomer.run"
		}
	},
	"scalingSpec": func(scaling any) {
		for _, name := range []string{"hibernationSpec", "override"} {
			object, _ := scaling.(map[string]any)
			scaling = object[name]
		}
		if override, ok := scaling.(map[string]any); ok {
			override["isActive"] = true
		}
	},
}

func variablesBody(variables []variable) []any {
	all := []any{}
	for _, v := range variables {
		one := map[string]any{"key": v.Key, "isSecret": v.Secret, "updatedAt": v.Updated.Format(timeFormat)}
		if !v.Secret {
			one["value"] = v.Value
		}
		all = append(all, one)
	}
	return all
}

// subject is who did something; "" is a user.
func subject(tokenID string) any {
	if tokenID == "" {
		return map[string]any{"id": "clocaluser000000000000000", "subjectType": "USER", "fullName": "Local User", "username": "user@example.com"}
	}
	return map[string]any{"id": tokenID, "subjectType": "SERVICEKEY", "apiTokenName": tokenID}
}

// Environment is a Deployment's variables with their values, secret ones too, as its Airflow gets them. An unknown id has
// none.
func (s *Service) Environment(deploymentID string) map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.deployments[deploymentID]
	if d == nil {
		return nil
	}
	env := map[string]string{}
	for _, v := range d.Variables {
		env[v.Key] = v.Value
	}
	return env
}
