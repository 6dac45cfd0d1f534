package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"

	"github.com/airlock-secrets/airlock/internal/airflow"
	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/secret"
)

// reading is what one of Airflow's implementations makes of a text.
type reading struct {
	Error  string         // the class of its exception
	Odd    string         // it reads something that Conn does not hold, on purpose: "type", "surrogate", "port"
	Fields map[string]any // None is nil, a port a json.Number
	URI    attempt
	JSON   attempt
}

type attempt struct {
	Value *string
	Error string
}

// stricter are the reasons for which Airlock refuses what Airflow reads; docs/parity.md has a row for each.
var stricter = map[string]string{
	"type":      "a field that is not text",
	"surrogate": "half of a surrogate pair",
	"port":      "a port beyond 64 bits",
}

// connections compares Airflow and internal/airflow over generated contents of secrets, and ids.
func connections(opt options, t *tally) error {
	home, err := os.MkdirTemp("", "airlock-parity")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(home) }()
	p, err := startPeer(opt.python, append(os.Environ(), "AIRFLOW_HOME="+home,
		"AIRFLOW__LOGGING__LOGGING_LEVEL=CRITICAL"), opt.dir+"/reader.py")
	if err != nil {
		return err
	}
	var hello struct{ Delimiters string }
	if err := p.read(&hello); err != nil {
		return err
	}
	for _, c := range hello.Delimiters {
		_, err := airflow.SDK.ParseURI(secret.FromString("a://u" + string(c) + "@h"))
		t.check("delimiter", err != nil, func() string { return fmt.Sprintf("%U is not refused", c) })
	}
	g := newGenerator(rand.New(rand.NewPCG(opt.seed, 1)))
	const batch = 200
	for done := 0; done < opt.connections; done += batch {
		requests := make([]map[string]string, min(batch, opt.connections-done))
		for i := range requests {
			if i%20 == 0 {
				requests[i] = map[string]string{"id": g.id()}
			} else {
				requests[i] = map[string]string{"read": g.connection()}
			}
		}
		var answers []json.RawMessage
		if err := p.ask(requests, &answers); err != nil {
			return err
		}
		for i, request := range requests {
			if id, ok := request["id"]; ok {
				compareID(id, answers[i], t)
				continue
			}
			var both struct{ Core, SDK reading }
			decoder := json.NewDecoder(bytes.NewReader(answers[i]))
			decoder.UseNumber()
			if err := decoder.Decode(&both); err != nil {
				return err
			}
			compare(airflow.SDK, request["read"], both.SDK, t)
			compare(airflow.Core, request["read"], both.Core, t)
			compareVerdict(request["read"], both.SDK, both.Core, t)
		}
	}
	return p.close()
}

func compareID(id string, answer json.RawMessage, t *tally) {
	var theirs struct {
		Kept    *string
		Imports bool
	}
	_ = json.Unmarshal(answer, &theirs)
	kept, ok := airflow.SanitizeConnectionID(id)
	same := ok == (theirs.Kept != nil) && (!ok || kept == *theirs.Kept)
	t.check("connection ids", same, func() string {
		return fmt.Sprintf("id %q: %q, %t; Airflow: %s", id, kept, ok,
			answer)
	})
	t.check("imported ids", (airflow.CheckImportID(id) == nil) == theirs.Imports,
		func() string {
			return fmt.Sprintf("CheckImportID(%q): %v; Airflow: %s", id, airflow.CheckImportID(id), answer)
		})
	t.check("checked ids", (airflow.CheckConnectionID(id) == nil) == (theirs.Kept != nil && *theirs.Kept == id),
		func() string {
			return fmt.Sprintf("CheckConnectionID(%q): %v; Airflow: %s", id, airflow.CheckConnectionID(id), answer)
		})
}

// compare wants of one implementation: the same refusal, or the same fields and the same URI and JSON written of them.
func compare(r airflow.Reading, text string, theirs reading, t *tally) {
	name := map[airflow.Reading]string{airflow.SDK: "sdk", airflow.Core: "core"}[r]
	ours, err := r.Parse(secret.FromString(text))
	if theirs.Odd != "" {
		t.row(stricter[theirs.Odd])
		t.check(name+" odd", err != nil, func() string {
			return fmt.Sprintf("%s: %q is read, and should not: %s",
				name, text, theirs.Odd)
		})
		return
	}
	if theirs.Error == "RecursionError" || (err != nil && tooDeep(text)) {
		t.row("a nesting deeper than 900")
		return
	}
	if !t.check(name+" readings", (err != nil) == (theirs.Error != ""), func() string {
		return fmt.Sprintf("%s: %q: ours %v, Airflow's %q %v", name, text, err, theirs.Error, theirs.Fields)
	}) || err != nil {
		return
	}
	mine := fields(ours)
	for key, value := range theirs.Fields {
		t.check(name+" fields", fmt.Sprint(value) == fmt.Sprint(mine[key]) && (value == nil) == (mine[key] == nil),
			func() string {
				return fmt.Sprintf("%s: %q: %s is %q, Airflow's %q", name, text, key, mine[key], value)
			})
	}
	uri, err := ours.URI()
	if err != nil && tooDeep(text) {
		t.row("a nesting deeper than 900")
		return
	}
	compareWritten(name+" URIs", text, theirs.URI, uri, err, t)
	object, err := ours.JSON()
	compareWritten(name+" JSON", text, theirs.JSON, object, err, t)
	if err != nil || !whole(ours) {
		return
	}
	back, err := r.Parse(object)
	again, againErr := back.JSON()
	same := err == nil && againErr == nil && string(again.Reveal()) == string(object.Reveal())
	t.check(name+" round trips", same, func() string {
		return fmt.Sprintf("%s: %q: JSON does not come back: %v",
			name, text, err)
	})
}

// whole tells whether Airflow reads all of the JSON that it wrote itself: a type or a port that is no truth for Python is
// dropped, and an extra that is a text of JSON loses its quotes.
func whole(c airflow.Conn) bool {
	return !(c.Type != nil && *c.Type == "" || c.Port != nil && *c.Port == 0 ||
		strings.HasPrefix(strings.TrimSpace(string(c.Extra.Reveal())), `"`))
}

func compareWritten(what, text string, theirs attempt, ours secret.Value, err error, t *tally) {
	same := (err != nil) == (theirs.Error != "") && (err != nil || string(ours.Reveal()) == *theirs.Value)
	t.check(what, same, func() string {
		return fmt.Sprintf("%s of %q: %q, %v; Airflow's %q %s", what, text, ours.Reveal(), err,
			*cmp.Or(theirs.Value, new("")), theirs.Error)
	})
}

// compareVerdict wants a warning exactly where Airflow's two implementations differ, and no word of the text in anything
// that is said about it.
func compareVerdict(text string, sdk, core reading, t *tally) {
	c, err := airflow.ParseConnection(secret.FromString(text))
	if err == nil && sdk.Odd == "" && core.Odd == "" {
		differ := core.Error != "" || fmt.Sprint(sdk.Fields) != fmt.Sprint(core.Fields)
		warned := false
		for _, w := range c.Warnings() {
			switch w.Code {
			case airflow.ServersRefuse, airflow.EmptyPassword, airflow.TypedExtra, airflow.ReadingsDiffer:
				warned = true
			}
		}
		t.check("warnings of a difference", differ == warned, func() string {
			return fmt.Sprintf("%q: Airflow differs: %t, warned: %t (%v, %v)", text, differ, warned, sdk, core)
		})
	}
	said := append(fault.HintsOf(err), fmt.Sprintf("%v %+v", err, fault.Detail(err)))
	for _, w := range c.Warnings() {
		said = append(said, w.Message, w.Hint, w.Field)
	}
	if strings.Contains(text, canary) {
		t.check("canaries", !strings.Contains(strings.ToLower(fmt.Sprint(said)), canary),
			func() string { return fmt.Sprintf("%q is told by %q", text, said) })
	}
}

func tooDeep(text string) bool {
	return strings.Count(text, "[")+strings.Count(text, "{")+strings.Count(text, "%5B")+strings.Count(text, "%7B") > 900
}

func fields(c airflow.Conn) map[string]any {
	all := map[string]any{}
	for key, s := range map[string]*string{
		"conn_type": c.Type, "description": c.Description, "host": c.Host, "login": c.Login, "schema": c.Schema,
	} {
		if s != nil {
			all[key] = *s
		}
	}
	for key, v := range map[string]secret.Value{"password": c.Password, "extra": c.Extra} {
		if !v.IsZero() {
			all[key] = string(v.Reveal())
		}
	}
	if c.Port != nil {
		all["port"] = *c.Port
	}
	return all
}
