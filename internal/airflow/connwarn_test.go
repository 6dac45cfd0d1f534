package airflow

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/secret"
)

func TestWarnings(t *testing.T) {
	for text, want := range map[string][]WarningCode{
		"postgres://u:p%40ss@db.example:5432/dwh?sslmode=require": nil,
		`{"conn_type": "http", "port": 80, "extra": {"a": 1}}`:    nil,
		`{"conn_type": "http", "port": "80"}`:                     nil,

		`{"conn_type": "http", "extra": "hi"}`: {ServersRefuse, ExtraNotObject},
		"http://u:@h":                          {EmptyPassword},
		"http://h?a=1":                         {TypedExtra},
		`{"uri": ""}`:                          {NoConnectionType, ReadingsDiffer, ReadingsDiffer, ReadingsDiffer},
		"google_cloud_platform://h":            {NoConnectionType},
		"just text":                            {NoConnectionType},
		"://h":                                 {NoConnectionType},
		`{"host": "h"}`:                        {NoConnectionType},
		"http://http://h":                      {TypeInHost},
		"http://https://h":                     {ProtocolInHost},
		"http://Host":                          {HostLowered},
		"http://u:a+b@h":                       {PlusInPassword},
		"http://u:a:b@h":                       {Unescaped},
		"http://u:é@h":                         {Unescaped},
		"http://a@b:p@h":                       {Unescaped},
		"http://u:a%b@h":                       {BrokenEscape},
		"http://u:%FF@h":                       {BrokenEscape},
		"http://u:%EF%BF%BD@h":                 nil,
		"http://h/50%":                         {BrokenEscape},
		"http://h/p#x":                         {FragmentDropped},
		"http://h/p#":                          {FragmentDropped},
		"http://h/a\tb":                        {Removed},
		"http://[::1]x:1":                      {Brackets},
		"http://[::1]:1":                       nil,
		"http://h?a=x&a=y":                     {ParameterRepeated},
		"http://h?a=x&__extra__=%7B%7D":        {ParameterDropped},
		`{"conn_type": "http", "conn_type": "a"}`: {KeyRepeated, UnknownType},
		`{"conn_type": "http", "port": 0}`:        {PortConverted},
		`{"conn_type": "http", "port": 1.5}`:      {PortConverted},
		`{"conn_type": "HTTP"}`:                   {TypeNotLower},
		"my-own://h":                              {UnknownType},
		`{"conn_type": "http", "port": 70000}`:    {PortRange},
		`{"conn_type": "http", "extra": [1]}`:     {ServersRefuse, ExtraNotObject},
	} {
		c, err := ParseConnection(secret.FromString(text))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		var got []WarningCode
		for _, w := range c.Warnings() {
			got = append(got, w.Code)
			if w.Message == "" || strings.HasSuffix(w.Message, ".") || w.Message[0] >= 'A' && w.Message[0] <= 'Z' {
				t.Errorf("%s: message %q", text, w.Message)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
}

// Every code is told in the docs, and nothing else is.
func TestWarningsAreTold(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "connwarn.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var codes []string
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok {
			if of, ok := spec.Type.(*ast.Ident); ok && of.Name == "WarningCode" {
				code, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
				if err != nil {
					t.Fatal(err)
				}
				codes = append(codes, code)
			}
		}
		return true
	})
	page, err := os.ReadFile("../../docs/connections.md")
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	for line := range strings.Lines(string(page)) {
		if rest, ok := strings.CutPrefix(line, "| `"); ok {
			code, _, _ := strings.Cut(rest, "`")
			told = append(told, code)
		}
	}
	if len(codes) == 0 || !slices.Equal(codes, told) {
		t.Errorf("the code has %v, docs/connections.md %v", codes, told)
	}
}

// Whatever a secret holds, nothing that is said about it holds a part of it.
func TestConnectionCanary(t *testing.T) {
	const canary = "canary7f3a"
	seen := 0
	for _, pattern := range []string{
		"*", "*://*:*@*:*/*?*=*#*", "a://u:p/*@h", "a://u:*[@h", "a://[*]", "a://h:*", "a://*://*://*",
		"a://*@b://c", "a://u:*℀@h",
		"a_*://h", "A*://*+:*%*@*/%*?__extra__=*&*=*", "a://h?a=*&a=*", "a://h?__extra__=*", "http://http://*",
		"a://h\t*#*", "a://H*[::1]*",
		`{"*": 1}`, `{"host": "h", "*": "*"}`, `{"host": ["*"]}`, `{"port": "*"}`, `{"port": ["*"]}`,
		`{"conn_type": "*", "port": 99999}`,
		`{"conn_type": ["*"]}`, `{"uri": "*", "host": "*"}`, `{"uri": ["*"]}`, `{"extra": "*"}`,
		`{"extra": "[\"*\"]"}`, `{"password": "\ud800*"}`,
		`{"host": "*"`, `{"host": *}`, `{*}`, `{'*': '*'}`, `{"a": "*",}`, `{"uri": "a://*://*://*"}`,
		`{"password": "", "extra": {"*": "*"}}`,
	} {
		text := strings.ReplaceAll(pattern, "*", canary)
		for _, parse := range []func(secret.Value) (Conn, error){ParseConnection, ParseConnectionURI,
			ParseConnectionJSON} {
			c, err := parse(secret.FromString(text))
			said := fmt.Sprintf("%v|%+v|%q|%s|%+v|%#v", err, err, fault.HintsOf(err), fault.Detail(err),
				c.Warnings(), c.Password)
			if strings.Contains(strings.ToLower(said), canary) {
				t.Errorf("%s is told: %s", text, said)
			}
			seen += len(c.Warnings()) + len(fault.HintsOf(err))
		}
	}
	if seen < 30 {
		t.Errorf("only %d things were said", seen)
	}
}
