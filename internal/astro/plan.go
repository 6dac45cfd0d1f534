package astro

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/secret"
)

// Wanted is a variable that a Deployment shall have.
type Wanted struct {
	Key    string
	Value  secret.Value
	Secret bool // false leaves a secret what it is: the API cannot take the mark away
}

// Action says what a plan does with a variable.
type Action string

// The actions of a plan.
const (
	Create  Action = "create"
	Replace Action = "change" // the value, or the mark
	Same    Action = "same"   // nothing is to do
	// Unknown is a secret, whose value nobody is told. It is written again, and may be the same.
	Unknown Action = "unknown"
)

// Change is what a plan does with one variable.
type Change struct {
	Key       string
	Action    Action
	Secret    bool // it will be
	WasSecret bool // it is
}

// Plan is what a write would do. The Deployment is as it was read when the plan was made.
type Plan struct {
	Deployment Deployment
	Changes    []Change // in the order of what is wanted

	wanted []Wanted
}

// NewPlan compares what a Deployment has with what it shall have. What is not wanted stays.
func NewPlan(d Deployment, wanted []Wanted) Plan {
	p := Plan{Deployment: d, wanted: slices.Clone(wanted)}
	for i, w := range p.wanted {
		has, found := d.variable(w.Key)
		p.wanted[i].Secret = w.Secret || has.Secret
		change := Change{Key: w.Key, Action: Replace, Secret: w.Secret || has.Secret, WasSecret: has.Secret}
		switch {
		case !found:
			change.Action = Create
		case !has.Known:
			change.Action = Unknown
		case !change.Secret && equal(has.Value, w.Value):
			change.Action = Same
		}
		p.Changes = append(p.Changes, change)
	}
	return p
}

func equal(a, b secret.Value) bool { return bytes.Equal(a.Reveal(), b.Reveal()) }

// Nothing says whether the Deployment is as it shall be.
func (p Plan) Nothing() bool {
	return !slices.ContainsFunc(p.Changes, func(c Change) bool { return c.Action != Same })
}

func (d Deployment) variable(key string) (Variable, bool) {
	i := slices.IndexFunc(d.Variables, func(v Variable) bool { return v.Key == key })
	if i < 0 {
		return Variable{}, false
	}
	return d.Variables[i], true
}

// State says how a write left a Deployment.
type State string

// The states of a Deployment after a write.
const (
	AsBefore  State = "before"
	AsPlanned State = "planned"
	// Changed is neither: somebody else wrote, too.
	Changed State = "changed"
	// NotKnown means that Astro could not be asked any more.
	NotKnown State = "unknown"
)

// Result is what came of a write.
type Result struct {
	State      State
	Deployment Deployment // as it was read last
	Warnings   []string   // what deserves a look
}

// Apply carries a plan out. It reads the Deployment, writes nothing if its variables are not those of the plan any more,
// writes, and reads again. The state is true also beside an error: when the network dies under way, Apply asks until it
// knows, or says that it does not.
//
// The API writes without a condition: what somebody else writes between our reading and our writing, a matter of
// milliseconds, is lost, and only seen afterwards where it left a trace.
func (c *Client) Apply(ctx context.Context, p Plan) (Result, error) {
	before, err := c.Deployment(ctx, p.Deployment)
	if err != nil {
		return Result{State: AsBefore, Deployment: p.Deployment}, err
	}
	if others := differences(p.Deployment, before); len(others) > 0 {
		return Result{State: AsBefore, Deployment: before}, fault.New(fault.Internal,
			fmt.Sprintf("Deployment %s was changed since the plan was made: %s; nothing was written", before.Name, strings.Join(others, ", ")),
			"run the same command again, for a plan of what is there now")
	}
	body, err := updateBody(before, p.wanted)
	if err != nil {
		return Result{State: AsBefore, Deployment: before}, err
	}
	writing := c.post(ctx, path(before), body)
	// Also an interrupted run tells what it left behind.
	after, err := c.Deployment(context.WithoutCancel(ctx), before)
	if err != nil {
		if writing == nil {
			writing = err
		}
		return Result{State: NotKnown, Deployment: before}, writing
	}
	result := p.compare(before, after)
	if writing == nil && result.State != AsPlanned {
		writing = fault.New(fault.Internal, fmt.Sprintf("Deployment %s was written, and is not as planned", before.Name),
			"somebody else may be writing to it; run the same command again")
	}
	if writing != nil && result.State == AsPlanned {
		result.Warnings = append(result.Warnings, "the answer to the write was lost: "+writing.Error())
		writing = nil
	}
	return result, writing
}

// differences names the variables that are not the same in two readings.
func differences(a, b Deployment) (keys []string) {
	seen := map[string]bool{}
	for _, v := range append(slices.Clone(a.Variables), b.Variables...) {
		if seen[v.Key] {
			continue
		}
		seen[v.Key] = true
		if one, other := find(a, v.Key), find(b, v.Key); one == nil || other == nil || !one.same(*other) {
			keys = append(keys, v.Key)
		}
	}
	slices.Sort(keys)
	return keys
}

func find(d Deployment, key string) *Variable {
	if v, found := d.variable(key); found {
		return &v
	}
	return nil
}

func (v Variable) same(o Variable) bool {
	return v.Secret == o.Secret && v.Known == o.Known && equal(v.Value, o.Value) && v.Updated.Equal(o.Updated)
}

// compare tells from a reading afterwards what a write did.
func (p Plan) compare(before, after Deployment) Result {
	result := Result{State: AsPlanned, Deployment: after}
	wanted := map[string]bool{}
	rewritten, moved := 0, 0 // secrets: only their times tell that they were written
	for _, w := range p.wanted {
		wanted[w.Key] = true
		was, now := find(before, w.Key), find(after, w.Key)
		switch {
		case now == nil, now.Secret != w.Secret, now.Known && !equal(now.Value, w.Value):
			result.State = Changed
		case was != nil && was.Secret:
			if rewritten++; !now.Updated.Equal(was.Updated) {
				moved++
			}
		}
	}
	if rewritten > 0 && moved == 0 && before.Updated.Equal(after.Updated) {
		result.State = Changed
	}
	if len(differences(before, after)) == 0 && result.State != AsPlanned {
		return Result{State: AsBefore, Deployment: after}
	}
	p.warn(&result, before, wanted)
	return result
}

// warn looks for traces of somebody else: variables that are not ours, and settings.
func (p Plan) warn(result *Result, before Deployment, ours map[string]bool) {
	after := result.Deployment
	var touched, kept []string
	for _, v := range before.Variables {
		now := find(after, v.Key)
		switch {
		case ours[v.Key]:
		case now == nil:
			result.Warnings = append(result.Warnings, v.Key+" is gone; this push did not remove it")
			result.State = Changed
		case now.Secret != v.Secret || !equal(now.Value, v.Value):
			result.Warnings = append(result.Warnings, v.Key+" is another now; this push did not change it")
			result.State = Changed
		case !now.Updated.Equal(v.Updated):
			touched = append(touched, v.Key)
		default:
			kept = append(kept, v.Key)
		}
	}
	// A service that gives every variable a new time with each write tells nothing by it.
	if len(kept) > 0 {
		for _, key := range touched {
			result.Warnings = append(result.Warnings,
				key+" was written by somebody else meanwhile; look whether its value is the one that is meant")
		}
	}
	for _, v := range after.Variables {
		if find(before, v.Key) == nil && !ours[v.Key] {
			result.Warnings = append(result.Warnings, v.Key+" is new; somebody else added it meanwhile")
		}
	}
	for _, name := range otherSettings(before, after) {
		result.Warnings = append(result.Warnings, "the Deployment's "+name+" is another now; this push did not mean to change it")
	}
}

// passing are the fields of a Deployment that change by themselves, or are looked at apart.
var passing = []string{
	"environmentVariables", "updatedAt", "updatedBy", "status", "statusReason", "scalingStatus", "imageTag", "imageVersion",
	"dagTarballVersion", "desiredDagTarballVersion", "externalIPs", "drExternalIPs",
}

func otherSettings(a, b Deployment) (names []string) {
	all := maps.Clone(a.raw)
	maps.Copy(all, b.raw)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if !slices.Contains(passing, name) && !sameJSON(a.raw[name], b.raw[name]) {
			names = append(names, name)
		}
	}
	return names
}

// sameJSON compares by meaning. Nothing, null and what is empty are the same.
func sameJSON(a, b json.RawMessage) bool {
	normal := func(raw json.RawMessage) string {
		var value any
		if json.Unmarshal(raw, &value) != nil {
			return ""
		}
		text, err := json.Marshal(value)
		if s := string(text); err != nil || slices.Contains([]string{"null", `""`, "[]", "{}"}, s) {
			return ""
		}
		return string(text)
	}
	return normal(a) == normal(b)
}

// hostedFields and hybridFields are the fields of an answer that an update has, too. An update without them would take the
// settings away. workloadIdentity is not among them: left out it stays, and answers have only the one in effect, which
// may be Astro's default and must not be made the user's own.
// Source: the specification's Update...DeploymentRequest; the Astro CLI on workloadIdentity.
var (
	commonFields = []string{
		"contactEmails", "description", "executor", "isCicdEnforced", "isDagDeployEnabled", "name", "type", "workerQueues",
		"workspaceId",
	}
	hostedFields = append([]string{
		"defaultTaskPodCpu", "defaultTaskPodMemory", "isDevelopmentMode", "isHighAvailability", "remoteExecution",
		"resourceQuotaCpu", "resourceQuotaMemory", "scalingSpec", "schedulerSize",
	}, commonFields...)
	hybridFields = append([]string{"taskPodNodePoolId"}, commonFields...)
)

// answerOnly are the parts of fields that an update does not have.
var answerOnly = map[string]func(any){
	"workerQueues": func(queues any) {
		list, _ := queues.([]any)
		for _, q := range list {
			drop(q, "podCpu", "podMemory")
		}
	},
	"remoteExecution": func(v any) { drop(v, "remoteApiUrl") },
	"scalingSpec":     func(v any) { drop(inside(v, "hibernationSpec", "override"), "isActive") },
}

func drop(object any, names ...string) {
	fields, _ := object.(map[string]any)
	for _, name := range names {
		delete(fields, name)
	}
}

func inside(v any, names ...string) any {
	for _, name := range names {
		fields, _ := v.(map[string]any)
		v = fields[name]
	}
	return v
}

type variableBody struct {
	Key    string  `json:"key"`
	Value  *string `json:"value,omitempty"`
	Secret bool    `json:"isSecret"`
}

// updateBody is the whole Deployment as it is, with the variables that are wanted. A secret that is not wanted goes without
// its value, which keeps it; an empty value would blank it.
func updateBody(d Deployment, wanted []Wanted) (map[string]any, error) {
	fields := hostedFields
	if d.Type == "HYBRID" {
		fields = hybridFields
	}
	body := map[string]any{}
	for _, name := range fields {
		raw := d.raw[name]
		if len(raw) == 0 || string(raw) == "null" {
			continue
		}
		var value any
		decoder := json.NewDecoder(bytes.NewReader(raw))
		decoder.UseNumber()
		if err := decoder.Decode(&value); err != nil {
			return nil, fault.New(fault.Internal, notJSON)
		}
		if clean := answerOnly[name]; clean != nil {
			clean(value)
		}
		body[name] = value
	}
	if d.Type == "HYBRID" {
		body["scheduler"] = map[string]json.RawMessage{"au": d.raw["schedulerAu"], "replicas": d.raw["schedulerReplicas"]}
	} else if body["isHighAvailability"] == nil {
		body["isHighAvailability"] = false // an update must say it, an answer need not
	}
	ours := map[string]bool{}
	variables := []variableBody{}
	for _, w := range wanted {
		ours[w.Key] = true
	}
	for _, v := range d.Variables {
		if ours[v.Key] {
			continue
		}
		kept := variableBody{Key: v.Key, Secret: v.Secret}
		if v.Known {
			value := string(v.Value.Reveal())
			kept.Value = &value
		}
		variables = append(variables, kept)
	}
	for _, w := range wanted {
		value := string(w.Value.Reveal())
		variables = append(variables, variableBody{Key: w.Key, Value: &value, Secret: w.Secret})
	}
	body["environmentVariables"] = variables
	return body, nil
}
