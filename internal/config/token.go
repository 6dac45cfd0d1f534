package config

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/secret"
)

const (
	tokenBytes = 32 // of chance in a token that we make
	minToken   = 32 // characters of one that somebody else made
	maxToken   = 1024
)

// ReadToken reads what an agent on loopback wants to be shown. A file that others can read is refused. The error is of kind
// Usage.
func ReadToken(path string) (secret.Value, error) {
	r := reader{files: map[string]content{}}
	_, token, err := r.secretFile(path)
	if err == nil {
		err = tokenProblem(token)
	}
	if err != nil {
		return secret.Value{}, fault.Wrap(fault.Usage, err, fmt.Sprintf("the token file %s %s", path, err), fault.HintsOf(err)...)
	}
	return token, nil
}

// tokenProblem says why a token is none: it must stand in a header, and nobody must guess it.
func tokenProblem(token secret.Value) error {
	text := token.Reveal()
	if len(text) < minToken || len(text) > maxToken {
		return fault.New(fault.Usage, fmt.Sprintf("must hold a token of %d to %d characters", minToken, maxToken),
			"delete it, and the agent makes a good one")
	}
	for _, c := range text {
		if c <= ' ' || c > '~' {
			return errors.New("must hold one word of visible ASCII characters")
		}
	}
	return nil
}

// MakeToken makes the token file, for the agent's user alone, where one is wanted and missing. The error is of kind Usage.
func (a *Agent) MakeToken() error {
	path := a.Remote.TokenFile
	if path == "" || a.Remote.Token.Len() > 0 {
		return nil
	}
	text := make([]byte, base64.RawURLEncoding.EncodedLen(tokenBytes))
	raw := make([]byte, tokenBytes)
	_, _ = rand.Read(raw) // it never fails
	base64.RawURLEncoding.Encode(text, raw)
	written := append(text, '\n')
	err := newFile(path, written)
	switch {
	case errors.Is(err, fs.ErrExist): // another agent with the same file was quicker
		token, err := ReadToken(path)
		if err != nil {
			return err
		}
		a.Remote.Token = token
		return nil
	case err != nil:
		return fault.Wrap(fault.Usage, err, "cannot make the token file: "+err.Error())
	}
	a.Remote.Token = secret.New(text)
	a.files[path] = contentOf(written, nil)
	return nil
}

// newFile makes a private file that is whole from its first instant; fs.ErrExist is in the error's chain when it is there.
func newFile(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".airlock-token-*") // with mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Link(f.Name(), path)
}
