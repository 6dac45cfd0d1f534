package project

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/airlock-secrets/airlock/internal/airflow"
	"github.com/airlock-secrets/airlock/internal/dotenv"
)

// FuzzBackend: whatever .env holds, it is refused, or edited into one that says what was meant and stays so.
func FuzzBackend(f *testing.F) {
	for _, seed := range []string{
		sealedEnv, "AIRFLOW__SECRETS__BACKEND_KWARGS={'a': None,\n}\nB=1", "\ufeffAIRFLOW__SECRETS__BACKEND_KWARGS=\"{\"a\": 1}\"", "export AIRFLOW__SECRETS__BACKEND_KWARGS=\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := ReadBackend(".env", data)
		if err != nil {
			return
		}
		k := b.Kwargs.Clone()
		k.Apply(withSecret())
		once, err := b.With(airflow.AirlockBackend, k)
		if err != nil {
			return // longer than a line can be
		}
		entries, err := dotenv.Parse(".env", once)
		if err != nil {
			t.Fatalf("%q became %q: %v", data, once, err)
		}
		if got := kwargsOf(t, dotenv.Map(entries)[airflow.EnvKwargs]); !got.Equal(k) {
			t.Fatalf("%q became %q", data, once)
		}
		again, err := ReadBackend(".env", once)
		if err != nil || again.Repaired != "" {
			t.Fatalf("%q: %v %q", once, err, again.Repaired)
		}
		if twice, err := again.With(airflow.AirlockBackend, k); err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("edited twice it differs (%v):\n%q\n%q", err, once, twice)
		}
		MaskEnv(data, once)
		if _, err := Seal(once, nil); err != nil {
			t.Fatalf("%q cannot be sealed: %v", once, err)
		}
	})
}

// FuzzValues: whatever values.yaml holds, it is refused, or edited so that a second edit changes nothing.
func FuzzValues(f *testing.F) {
	files, err := filepath.Glob(filepath.Join("testdata", "values", "*.in.yaml"))
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, v := range []Values{byIdentity(t), bySecret(t)} {
			out, _, err := EditValues("values.yaml", data, v)
			if err != nil {
				continue
			}
			again, _, err := EditValues("values.yaml", out, v)
			if err != nil || !bytes.Equal(again, out) {
				t.Fatalf("edited twice it differs (%v):\n%q\n%q", err, out, again)
			}
			MaskValues(data, out)
		}
	})
}
