// Command dotenvread tells how the two dotenv packages for Go read a file: that of Docker Compose, which `astro dev` gives a
// project's .env to, and gotenv, which `astro env` uses. It prints one JSON object a reader, on a line each.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"

	compose "github.com/compose-spec/compose-go/v2/dotenv"
	"github.com/subosito/gotenv"
)

func main() {
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "dotenvread:", err)
		os.Exit(1)
	}
}

func run(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	byCompose, err := compose.ParseWithLookup(bytes.NewReader(data), func(string) (string, bool) { return "", false })
	if err != nil {
		return fmt.Errorf("compose: %w", err)
	}
	byGotenv, err := gotenv.StrictParse(bytes.NewReader(data))
	if err != nil {
		return fmt.Errorf("gotenv: %w", err)
	}
	encoder := json.NewEncoder(os.Stdout)
	for _, env := range []map[string]string{byCompose, byGotenv} {
		if err := encoder.Encode(env); err != nil {
			return err
		}
	}
	return nil
}
