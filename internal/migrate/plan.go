package migrate

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/airlock-secrets/airlock/internal/airflow"
	"github.com/airlock-secrets/airlock/internal/keyvault"
	"github.com/airlock-secrets/airlock/internal/source"
)

// Action is what a plan does about one id.
type Action string

// The actions, in the order in which people are shown them.
const (
	Create  Action = "create"
	Change  Action = "change"  // a new version, with tags and content type of the old one
	Tag     Action = "tag"     // the value is the same; the id goes into the tag, without a new version
	Recover Action = "recover" // deleted and not yet gone: take it back, then write
	Same    Action = "same"    // nothing to do
	Delete  Action = "delete"  // not in the source; only when that was asked for
	Collide Action = "collide" // another id has the name: nothing is done
	Refuse  Action = "refuse"  // cannot be stored: nothing is done
)

// Actions lists the actions in order.
func Actions() []Action { return []Action{Create, Change, Tag, Recover, Same, Delete, Collide, Refuse} }

// Blocked tells whether nothing can be done about the id until somebody mends it.
func (a Action) Blocked() bool { return a == Collide || a == Refuse }

// Step is one id of a plan. It shows no value.
type Step struct {
	Action   Action       `json:"action"`
	Kind     airflow.Kind `json:"kind"`
	ID       string       `json:"id"`
	Secret   string       `json:"secret,omitempty"` // its name; empty when there is none
	Where    string       `json:"where,omitempty"`  // in the source; empty for Delete
	Reason   string       `json:"reason,omitempty"` // of Collide and Refuse
	Hints    []string     `json:"hints,omitempty"`
	Warnings []string     `json:"warnings,omitempty"`

	content keyvault.Content
}

// Plan is what is to be done, sorted by kind and id.
type Plan struct{ Steps []Step }

// Question is what a plan answers.
type Question struct {
	Naming airflow.Naming
	Items  []source.Item
	// Vault is what the vault holds. The values of those that Items names must have been read: see Question.Wanted.
	Vault Inventory
	// Prune also deletes what the source does not name, of the kinds that it has.
	Prune bool
}

// Wanted tells whether a plan needs the value of a secret.
func (q Question) Wanted() func(Held) bool {
	named := map[string]bool{}
	for _, item := range q.Items {
		if name, err := q.Naming.Name(item.Kind, item.ID); err == nil {
			named[strings.ToLower(name)] = true
		}
	}
	return func(h Held) bool { return named[strings.ToLower(h.Name)] }
}

// Make makes the plan.
func Make(q Question) Plan {
	held := map[string]Held{}
	for _, h := range q.Vault.Held {
		held[strings.ToLower(h.Name)] = h
	}
	met := CheckCollisions(q.Naming, q.Items)
	var plan Plan
	named, kinds := map[string]bool{}, map[airflow.Kind]bool{}
	for i, item := range q.Items {
		kinds[item.Kind] = true
		name, _ := q.Naming.Name(item.Kind, item.ID)
		key := strings.ToLower(name)
		if named[key] && name != "" && met[i] == "" {
			continue // the same once more
		}
		named[key] = true
		step := Step{Kind: item.Kind, ID: item.ID, Secret: name, Where: item.Where}
		if item.Lost != "" {
			step.Warnings = append(step.Warnings, item.Lost+" is not kept: a secret has a place for the value alone")
		}
		for _, f := range CheckItem(q.Naming, item) {
			if !f.Broken {
				step.Warnings = append(step.Warnings, f.Message)
			} else if step.Action == "" {
				step.Action, step.Reason, step.Hints = Refuse, f.Message, f.Hints
			}
		}
		switch other, there := held[key]; {
		case step.Action != "":
		case met[i] != "":
			step.Action, step.Reason, step.Hints = Collide, met[i], []string{CollisionHint}
		case there:
			step.against(other, item)
		default:
			step.Action = Create
			if q.Vault.Deleted[key] {
				step.Action = Recover
			}
			step.content = keyvault.Content{Value: item.Value}
			if !item.Inferred {
				step.content.Tags = Tags(item.Kind, item.ID)
			}
		}
		plan.Steps = append(plan.Steps, step)
	}
	if q.Prune {
		for _, h := range q.Vault.Held {
			if !named[strings.ToLower(h.Name)] && kinds[h.Kind] && prunable(q.Naming, h) {
				plan.Steps = append(plan.Steps, Step{Action: Delete, Kind: h.Kind, ID: h.ID, Secret: h.Name})
			}
		}
	}
	slices.SortStableFunc(plan.Steps, func(a, b Step) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.ID, b.ID))
	})
	return plan
}

// against compares an item with what the vault holds under its name.
func (s *Step) against(held Held, item source.Item) {
	s.Secret = held.Name
	switch {
	case held.Tagged && (held.Kind != item.Kind || held.ID != item.ID) && !(item.Inferred && held.Kind == item.Kind):
		s.Action, s.Hints = Collide, []string{CollisionHint}
		s.Reason = fmt.Sprintf("the vault's secret %s is that of %s %q", held.Name, held.Kind, held.ID)
		return
	case held.Managed:
		s.Action, s.Reason = Refuse, fmt.Sprintf("the vault's secret %s belongs to a certificate", held.Name)
		return
	case !held.Enabled:
		s.Action, s.Reason = Refuse, fmt.Sprintf("the vault's secret %s is disabled, and writing would enable it", held.Name)
		s.Hints = []string{"enable it in the vault, or delete it, if it is to be written"}
		return
	}
	s.content = keyvault.Content{Value: item.Value, ContentType: held.ContentType, Tags: maps.Clone(held.Tags)}
	if !item.Inferred {
		if s.content.Tags == nil {
			s.content.Tags = map[string]string{}
		}
		maps.Copy(s.content.Tags, Tags(item.Kind, item.ID))
	}
	switch {
	case held.Err != nil || !sameAs(item, held.Value):
		s.Action = Change
	case held.ID != item.ID && !item.Inferred || held.Kind != item.Kind:
		s.Action = Tag // without it, the name would be taken for another id
	default:
		s.Action = Same
	}
}

// prunable tells whether a secret that the source does not name is certainly Airflow's, and everybody's.
func prunable(naming airflow.Naming, h Held) bool {
	if h.Managed {
		return false
	}
	if name, err := naming.Name(h.Kind, ""); (err != nil || name == "") && !h.Tagged {
		return false // without a prefix, whatever the vault holds would be Airflow's
	}
	_, err := naming.Name(h.Kind, h.ID) // a team's secret is no id of everybody's
	return err == nil
}

// Count is how many steps have the action.
func (p Plan) Count(action Action) int {
	n := 0
	for _, s := range p.Steps {
		if s.Action == action {
			n++
		}
	}
	return n
}

// Blocked are the steps about which nothing can be done.
func (p Plan) Blocked() []Step { return p.where(Action.Blocked) }

// Writes are the steps that write.
func (p Plan) Writes() []Step {
	return p.where(func(a Action) bool { return a == Create || a == Change || a == Tag || a == Recover })
}

// Deletes are the steps that delete.
func (p Plan) Deletes() []Step { return p.where(func(a Action) bool { return a == Delete }) }

// Different tells whether source and vault differ.
func (p Plan) Different() bool { return len(p.where(func(a Action) bool { return a != Same })) > 0 }

func (p Plan) where(want func(Action) bool) []Step {
	var some []Step
	for _, s := range p.Steps {
		if want(s.Action) {
			some = append(some, s)
		}
	}
	return some
}
