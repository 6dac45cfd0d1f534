package config

import (
	"net/url"
	"strings"

	"github.com/airlock-secrets/airlock/internal/fault"
)

// findAgent settles which agent is to be asked: what the kwargs say stands above the environment.
func (c *Config) findAgent(getenv Getenv) error {
	if c.AgentSocket == "" && c.AgentURL == "" {
		c.AgentSocket, c.AgentURL = getenv(EnvAgentSocket), getenv(EnvAgentURL)
	}
	if c.AgentTokenFile == "" {
		c.AgentTokenFile = getenv(EnvAgentTokenFile)
	}
	switch {
	case c.AgentURL == "":
		return nil
	case c.AgentSocket != "":
		return fault.New(fault.Usage, "the agent is named twice, by socket and by URL",
			"take one out: agent_socket or "+EnvAgentSocket+", agent_url or "+EnvAgentURL)
	case c.AgentTokenFile == "":
		return fault.New(fault.Usage, "agent_url wants agent_token_file: an agent on loopback is shown a token", "set "+EnvAgentTokenFile)
	}
	_, err := AgentAddress(c.AgentURL)
	return err
}

// AgentFromEnvironment is a configuration that says nothing but which agent to ask, if any. The error is of kind Usage.
func AgentFromEnvironment(getenv Getenv) (Config, error) {
	var c Config
	err := c.findAgent(getenv)
	return c, err
}

// AgentAddress is the host and port of an agent's URL, such as http://127.0.0.1:8130. The error is of kind Usage.
func AgentAddress(raw string) (string, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "http" || u.Hostname() == "" || u.Port() == "" || u.User != nil || strings.Trim(u.Path, "/") != "" ||
		u.RawQuery != "" || u.Fragment != "" {
		return "", fault.New(fault.Usage, "agent_url is not the URL of an agent", "for example http://127.0.0.1:8130")
	}
	return u.Host, nil
}

// AsAgent hides which agent is to be asked, for an agent itself: it asks its vault.
func AsAgent(getenv Getenv) Getenv {
	return func(key string) string {
		switch key {
		case EnvAgentSocket, EnvAgentURL, EnvAgentTokenFile:
			return ""
		}
		return getenv(key)
	}
}
