package agent

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"

	"github.com/airlock-secrets/airlock/internal/fault"
)

// maxPlaces is how many callers of a panic are written down.
const maxPlaces = 16

// caught makes an error of what recover gave, if it gave anything, and otherwise returns err. One request's mistake must not
// take the answers from all others. What was thrown may hold the value of a secret, so only its type is written down, and
// where it came from.
func caught(log *slog.Logger, thrown any, err error) error {
	if thrown == nil {
		return err
	}
	callers := make([]uintptr, maxPlaces)
	frames := runtime.CallersFrames(callers[:runtime.Callers(3, callers)]) // without Callers, this func, and who called recover
	var places []string
	for more := true; more; {
		var f runtime.Frame
		f, more = frames.Next()
		places = append(places, fmt.Sprintf("%s (%s:%d)", f.Function, filepath.Base(f.File), f.Line))
	}
	log.Error("airlock made a mistake; please report it", "thrown", fmt.Sprintf("%T", thrown), "places", places)
	return fault.New(fault.Internal, "the agent made a mistake", "its log says where; please report it")
}
