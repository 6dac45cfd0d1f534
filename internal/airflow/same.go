package airflow

import (
	"fmt"

	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/secret"
)

// SameConnection tells whether two secrets are one connection to Airflow: to its tasks and to its servers, which read
// differently. What is not to be read is the same as nothing.
func SameConnection(a, b secret.Value) bool { return sameConnection(a, b, sameText) }

// SimilarConnection is SameConnection where None and the empty text count as the same, which no URI tells apart.
func SimilarConnection(a, b secret.Value) bool { return sameConnection(a, b, emptyIsNone) }

func sameConnection(a, b secret.Value, same func(a, b *string) bool) bool {
	for _, reading := range []Reading{SDK, Core} {
		first, firstErr := reading.Parse(a)
		second, secondErr := reading.Parse(b)
		if reading == SDK && (firstErr != nil || secondErr != nil) {
			return false
		}
		if (firstErr == nil) != (secondErr == nil) || len(differingFields(first, second, same)) > 0 {
			return false
		}
	}
	return true
}

// DumpJSON writes JSON as Airflow writes the values that are not text: as Python's json.dumps(json.loads(text)) does. The
// error, of kind Usage, tells where the text is no JSON to Python.
func DumpJSON(text string) (string, error) {
	v, err := loadJSON(text)
	if err != nil {
		return "", fault.New(fault.Usage, fmt.Sprintf("not valid JSON%s", err.where()))
	}
	return dumpJSON(v), nil
}
