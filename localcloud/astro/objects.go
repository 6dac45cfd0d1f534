package astro

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

// object is an environment object as the store keeps it: what the Environment Manager calls a connection, a variable or a
// metrics export.
type object struct {
	ID, Key, Type, Scope, Entity string
	Organization, Description    string
	AutoLink                     bool
	Links                        []link
	Excluded                     []entity
	Content                      map[string]any // what stands under the field of its type
	CreatedBy, UpdatedBy         string         // ids of tokens
	Created, Updated             time.Time
}

type entity struct {
	Scope string `json:"scope"`
	ID    string `json:"scopeEntityId"`
}

type link struct {
	entity
	Overrides map[string]any // fields that replace those of Content
}

// contentFields names, for each type of object, the field that holds its content.
var contentFields = map[string]string{
	"CONNECTION": "connection", "AIRFLOW_VARIABLE": "airflowVariable", "ENVIRONMENT_VARIABLE": "environmentVariable",
	"METRICS_EXPORT": "metricsExport",
}

type (
	variableContent struct {
		IsSecret *bool   `json:"isSecret,omitempty"` // not in an update
		Value    *string `json:"value,omitempty"`
	}
	connectionContent struct {
		AuthTypeID *string        `json:"authTypeId,omitempty"`
		Extra      map[string]any `json:"extra,omitempty"`
		Host       *string        `json:"host,omitempty"`
		Login      *string        `json:"login,omitempty"`
		Password   *string        `json:"password,omitempty"`
		Port       *int           `json:"port,omitempty"`
		Schema     *string        `json:"schema,omitempty"`
		Type       *string        `json:"type,omitempty"`
	}
	metricsContent struct {
		AuthType       *string           `json:"authType,omitempty"`
		BasicToken     *string           `json:"basicToken,omitempty"`
		DataDogAPIKey  *string           `json:"dataDogApiKey,omitempty"`
		DataDogSite    *string           `json:"dataDogSite,omitempty"`
		Endpoint       *string           `json:"endpoint,omitempty"`
		ExporterType   *string           `json:"exporterType,omitempty"`
		Headers        map[string]string `json:"headers,omitempty"`
		Labels         map[string]string `json:"labels,omitempty"`
		Password       *string           `json:"password,omitempty"`
		SigV4AssumeArn *string           `json:"sigV4AssumeArn,omitempty"`
		SigV4StsRegion *string           `json:"sigV4StsRegion,omitempty"`
		Username       *string           `json:"username,omitempty"`
	}
	contents struct {
		Connection          *connectionContent `json:"connection,omitempty"`
		AirflowVariable     *variableContent   `json:"airflowVariable,omitempty"`
		EnvironmentVariable *variableContent   `json:"environmentVariable,omitempty"`
		MetricsExport       *metricsContent    `json:"metricsExport,omitempty"`
	}
	linkRequest struct {
		entity
		Overrides *struct {
			contents
			UnsetFields []string `json:"unsetFields,omitempty"`
		} `json:"overrides,omitempty"`
	}
	objectUpdate struct {
		contents
		Description  *string       `json:"description,omitempty"`
		AutoLink     *bool         `json:"autoLinkDeployments,omitempty"`
		Links        []linkRequest `json:"links,omitempty"`
		ExcludeLinks []entity      `json:"excludeLinks,omitempty"`
	}
	objectRequest struct {
		objectUpdate
		ObjectKey     string `json:"objectKey"`
		ObjectType    string `json:"objectType"`
		Scope         string `json:"scope"`
		ScopeEntityID string `json:"scopeEntityId"`
	}
)

// of takes the content of a type, as plain fields; nil is none.
func (c contents) of(objectType string) map[string]any {
	raw, err := json.Marshal(c)
	if err != nil {
		return nil
	}
	var all map[string]map[string]any
	if json.Unmarshal(raw, &all) != nil {
		return nil
	}
	return all[contentFields[objectType]]
}

var objectKey = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,250}$`)

func isVariable(objectType string) bool { return strings.HasSuffix(objectType, "VARIABLE") }

func (s *Service) listObjects(c *call) (any, error) {
	query := c.URL.Query()
	show := query.Get("showSecrets") == "true"
	if show && !c.organization.ShowSecrets {
		return nil, errShowSecrets(c.organization.ID)
	}
	in, err := s.scopeOfList(c)
	if err != nil {
		return nil, err
	}
	var found []any
	for _, o := range s.sortedObjects() {
		if o.Organization != c.organization.ID || !chosen(query["objectType"], o.Type) || !chosen(query["objectKey"], o.Key) {
			continue
		}
		switch {
		case o.Scope == in.Scope && o.Entity == in.ID:
			found = append(found, s.objectBody(o, show))
		case in.Scope == "DEPLOYMENT" && query.Get("resolveLinked") != "false":
			if overrides, linked := s.linkTo(o, in.ID); linked {
				found = append(found, resolvedBody(o, in, overrides, show))
			}
		}
	}
	part, offset, limit, err := page(c, found)
	return map[string]any{"environmentObjects": part, "offset": offset, "limit": limit, "totalCount": len(found)}, err
}

func (s *Service) sortedObjects() []*object {
	return slices.SortedFunc(maps.Values(s.objects), func(a, b *object) int {
		return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.ID, b.ID))
	})
}

// scopeOfList is the Workspace or the Deployment that a list is of.
func (s *Service) scopeOfList(c *call) (entity, error) {
	query := c.URL.Query()
	workspaceID, deploymentID := query.Get("workspaceId"), query.Get("deploymentId")
	switch {
	case (workspaceID == "") == (deploymentID == ""):
		return entity{}, errFields(field("workspaceId", "required", "or deploymentId is required, and not both"))
	case workspaceID != "":
		return entity{"WORKSPACE", workspaceID}, s.mayUse(c, entity{"WORKSPACE", workspaceID})
	}
	return entity{"DEPLOYMENT", deploymentID}, s.mayUse(c, entity{"DEPLOYMENT", deploymentID})
}

// mayUse checks that a Workspace or a Deployment is there and in the caller's scope.
func (s *Service) mayUse(c *call, e entity) error {
	if e.Scope == "WORKSPACE" {
		switch w := s.workspaces[e.ID]; {
		case w == nil || w.organization != c.organization.ID:
			return errNotFound("Workspace", e.ID)
		case !s.seesWorkspace(c.caller, e.ID):
			return errForbidden()
		}
		return nil
	}
	switch d := s.deployments[e.ID]; {
	case d == nil || d.Organization != c.organization.ID:
		return errNotFound("Deployment", e.ID)
	case !c.caller.sees(d):
		return errForbidden()
	}
	return nil
}

// linkTo says whether a Workspace's object reaches a Deployment, and with which overrides.
func (s *Service) linkTo(o *object, deploymentID string) (overrides map[string]any, linked bool) {
	d := s.deployments[deploymentID]
	if d == nil || o.Scope != "WORKSPACE" || o.Entity != d.Workspace || slices.Contains(o.Excluded, entity{"DEPLOYMENT", deploymentID}) {
		return nil, false
	}
	for _, l := range o.Links {
		if l.ID == deploymentID {
			return l.Overrides, true
		}
	}
	return nil, o.AutoLink
}

func (s *Service) createObject(c *call) (any, error) {
	var r objectRequest
	if err := c.read(&r); err != nil {
		return nil, err
	}
	content := r.of(r.ObjectType)
	var problems []FieldError
	if !objectKey.MatchString(r.ObjectKey) {
		problems = append(problems, field("objectKey", "required", "is required, of letters, digits, _, - and dots"))
	}
	if contentFields[r.ObjectType] == "" {
		problems = append(problems, field("objectType", "oneof",
			"must be one of CONNECTION, AIRFLOW_VARIABLE, ENVIRONMENT_VARIABLE, METRICS_EXPORT"))
	} else if content == nil {
		problems = append(problems, field(contentFields[r.ObjectType], "required", "is required"))
	}
	if r.Scope != "WORKSPACE" && r.Scope != "DEPLOYMENT" {
		problems = append(problems, field("scope", "oneof", "must be WORKSPACE or DEPLOYMENT"))
	}
	if len(problems) > 0 {
		return nil, errFields(problems...)
	}
	in := entity{r.Scope, r.ScopeEntityID}
	if err := s.mayUse(c, in); err != nil {
		return nil, err
	}
	if !c.caller.writes {
		return nil, errForbidden()
	}
	for _, other := range s.objects {
		if other.Key == r.ObjectKey && other.Type == r.ObjectType && other.Scope == in.Scope && other.Entity == in.ID {
			return nil, errExists(r.ObjectKey)
		}
	}
	o := &object{
		ID: "c" + strings.ReplaceAll(uuid.NewString(), "-", "")[:24], Key: r.ObjectKey, Type: r.ObjectType, Scope: in.Scope,
		Entity: in.ID, Organization: c.organization.ID, Created: c.now, CreatedBy: c.caller.tokenID, Content: content,
	}
	if isVariable(o.Type) {
		defaults := map[string]any{"value": "", "isSecret": false}
		maps.Copy(defaults, content)
		o.Content = defaults
	}
	if err := s.apply(c, o, r.objectUpdate); err != nil {
		return nil, err
	}
	return map[string]any{"id": o.ID}, nil
}

// apply takes over what both requests have, all of it: links that are not said again are gone.
func (s *Service) apply(c *call, o *object, r objectUpdate) error {
	o.AutoLink, o.Links, o.Excluded = r.AutoLink != nil && *r.AutoLink, nil, r.ExcludeLinks
	if r.Description != nil {
		o.Description = *r.Description
	}
	if o.Scope != "WORKSPACE" && (o.AutoLink || len(r.Links)+len(r.ExcludeLinks) > 0) {
		return errFields(field("links", "scope", "are for objects of a Workspace"))
	}
	for i, l := range r.Links {
		where := fmt.Sprintf("links[%d]", i)
		d := s.deployments[l.ID]
		if l.Scope != "DEPLOYMENT" || d == nil || d.Workspace != o.Entity {
			return errFields(field(where, "scope", "must be a Deployment of the Workspace"))
		}
		made := link{entity: l.entity}
		if l.Overrides != nil {
			made.Overrides = l.Overrides.of(o.Type)
			if made.Overrides["isSecret"] != nil {
				return errFields(field(where+".overrides", "immutable", "cannot change isSecret"))
			}
		}
		o.Links = append(o.Links, made)
	}
	o.Updated, o.UpdatedBy = c.now, c.caller.tokenID
	if err := s.kept.objects.Put(o.ID, o); err != nil {
		return err
	}
	s.objects[o.ID] = o
	return nil
}

// object finds the one that a path names, which the caller may read.
func (s *Service) object(c *call, write bool) (*object, error) {
	id := c.PathValue("object")
	o := s.objects[id]
	if o == nil || o.Organization != c.organization.ID {
		return nil, errNotFound("Environment object", id)
	}
	if s.mayUse(c, entity{o.Scope, o.Entity}) != nil || write && !c.caller.writes {
		return nil, errForbidden()
	}
	return o, nil
}

func (s *Service) getObject(c *call) (any, error) {
	o, err := s.object(c, false)
	if err != nil {
		return nil, err
	}
	show := c.URL.Query().Get("showSecrets") == "true"
	if show && !c.organization.ShowSecrets {
		return nil, errShowSecrets(c.organization.ID)
	}
	return s.objectBody(o, show), nil
}

func (s *Service) updateObject(c *call) (any, error) {
	o, err := s.object(c, true)
	if err != nil {
		return nil, err
	}
	var r objectUpdate
	if err := c.read(&r); err != nil {
		return nil, err
	}
	content := r.of(o.Type)
	if content["isSecret"] != nil && isVariable(o.Type) {
		return nil, errFields(field(contentFields[o.Type]+".isSecret", "immutable", "cannot change"))
	}
	updated := *o
	if content != nil {
		updated.Content = keepSecrets(o, content)
	}
	if err := s.apply(c, &updated, r); err != nil {
		return nil, err
	}
	return s.objectBody(&updated, false), nil
}

// keepSecrets replaces the content, but for secrets that the request leaves out.
func keepSecrets(o *object, content map[string]any) map[string]any {
	if isVariable(o.Type) {
		content["isSecret"] = o.Content["isSecret"]
	}
	for name, value := range o.Content {
		if _, given := content[name]; !given && isSecretField(o, name) {
			content[name] = value
		}
	}
	old, _ := o.Content["extra"].(map[string]any)
	if extra, ok := content["extra"].(map[string]any); ok {
		for name, value := range old {
			if _, given := extra[name]; !given && isSecretName(name) {
				extra[name] = value
			}
		}
	}
	return content
}

func (s *Service) deleteObject(c *call) (any, error) {
	o, err := s.object(c, true)
	if err != nil {
		return nil, err
	}
	if err := s.kept.objects.Drop(o.ID); err != nil {
		return nil, err
	}
	delete(s.objects, o.ID)
	return nil, nil
}

func (s *Service) excludeLinking(c *call) (any, error) {
	o, err := s.object(c, true)
	if err != nil {
		return nil, err
	}
	var r entity
	if err := c.read(&r); err != nil {
		return nil, err
	}
	if d := s.deployments[r.ID]; o.Scope != "WORKSPACE" || r.Scope != "DEPLOYMENT" || d == nil || d.Workspace != o.Entity {
		return nil, errFields(field("scopeEntityId", "scope", "must be a Deployment of the object's Workspace"))
	}
	updated := *o
	updated.Links = slices.DeleteFunc(slices.Clone(o.Links), func(l link) bool { return l.entity == r })
	if updated.Excluded = slices.Clone(o.Excluded); !slices.Contains(updated.Excluded, r) {
		updated.Excluded = append(updated.Excluded, r)
	}
	if err := s.kept.objects.Put(o.ID, &updated); err != nil {
		return nil, err
	}
	s.objects[o.ID] = &updated
	return nil, nil
}

// isSecretField says whether the service hides a field of an object's content.
func isSecretField(o *object, name string) bool {
	switch o.Type {
	case "AIRFLOW_VARIABLE", "ENVIRONMENT_VARIABLE":
		return name == "value" && o.Content["isSecret"] == true
	case "CONNECTION":
		return name == "password"
	}
	return name == "password" || name == "basicToken" || name == "dataDogApiKey"
}

// isSecretName says whether a field of a connection's extra is hidden. In the service the type of the connection says so.
func isSecretName(name string) bool {
	name = strings.ToLower(name)
	return slices.ContainsFunc([]string{"secret", "password", "token", "key"}, func(part string) bool { return strings.Contains(name, part) })
}

// masked is a content without its secrets, and the names of the fields that are set.
func masked(o *object, content map[string]any, show bool) (shown map[string]any, set []string) {
	shown, set = map[string]any{}, []string{}
	for name, value := range content {
		if name == "isSecret" {
			shown[name] = value
			continue
		}
		extra, nested := value.(map[string]any)
		if !nested {
			set = append(set, name)
			if shown[name] = value; isSecretField(o, name) && !show {
				shown[name] = ""
			}
			continue
		}
		fields := maps.Clone(extra)
		for inner := range extra {
			set = append(set, name+"."+inner)
			if name == "extra" && isSecretName(inner) && !show {
				fields[inner] = ""
			}
		}
		shown[name] = fields
	}
	slices.Sort(set)
	return shown, set
}

func (s *Service) objectBody(o *object, show bool) map[string]any {
	body := bodyOf(o, o.Content, show)
	body["id"], body["scope"], body["scopeEntityId"] = o.ID, o.Scope, o.Entity
	if o.Scope != "WORKSPACE" {
		return body
	}
	body["autoLinkDeployments"], body["excludeLinks"] = o.AutoLink, append([]entity{}, o.Excluded...)
	links := []any{}
	for _, l := range o.Links {
		one := map[string]any{"scope": l.Scope, "scopeEntityId": l.ID, "setFields": []string{}}
		if l.Overrides != nil {
			one[contentFields[o.Type]+"Overrides"], one["setFields"] = masked(o, l.Overrides, show)
		}
		links = append(links, one)
	}
	body["links"] = links
	return body
}

// resolvedBody is a Workspace's object as a linked Deployment has it. It has no id: nobody can change it there.
func resolvedBody(o *object, in entity, overrides map[string]any, show bool) any {
	content := maps.Clone(o.Content)
	for name, value := range overrides {
		extra, nested := value.(map[string]any)
		if below, ok := content[name].(map[string]any); nested && ok {
			merged := maps.Clone(below)
			maps.Copy(merged, extra)
			value = merged
		}
		content[name] = value
	}
	body := bodyOf(o, content, show)
	body["scope"], body["scopeEntityId"], body["sourceScope"], body["sourceScopeEntityId"] = in.Scope, in.ID, o.Scope, o.Entity
	return body
}

func bodyOf(o *object, content map[string]any, show bool) map[string]any {
	shown, set := masked(o, content, show)
	return map[string]any{
		"objectKey": o.Key, "objectType": o.Type, "description": o.Description, contentFields[o.Type]: shown, "setFields": set,
		"createdAt": o.Created.Format(timeFormat), "updatedAt": o.Updated.Format(timeFormat),
		"createdBy": subject(o.CreatedBy), "updatedBy": subject(o.UpdatedBy),
	}
}
