package config

import (
	"regexp"
	"slices"
	"strings"
)

// FileVariable names the configuration file where no flag does.
const FileVariable = variablePrefix + "CONFIG"

// URLVariable and TokenVariable are for commands that ask a broker elsewhere: they say where,
// and what is shown to it.
const (
	URLVariable   = variablePrefix + "URL"
	TokenVariable = variablePrefix + "TOKEN"
)

// noSettings are the variables that are ours and no settings.
var noSettings = []string{FileVariable, URLVariable, TokenVariable}

// kubernetes matches what Kubernetes puts into each container for a service
// whose name begins with promptmq. None of it is meant for the broker.
var kubernetes = regexp.MustCompile(`^PROMPTMQ_(.*_)?(SERVICE_HOST|SERVICE_PORT(_.*)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)

// readEnviron takes over the variables of environ that begin with PROMPTMQ_.
// One that is set to nothing has the empty string as its value.
func (c *Config) readEnviron(environ []string) Errors {
	names := make([]string, len(keys))
	for i := range keys {
		names[i] = keys[i].variable()
	}
	var errs Errors
	for _, assignment := range environ {
		name, text, _ := strings.Cut(assignment, "=")
		if !strings.HasPrefix(name, variablePrefix) || slices.Contains(noSettings, name) || kubernetes.MatchString(name) {
			continue
		}
		i := slices.Index(names, name)
		if i < 0 {
			errs = append(errs, &Error{Origin: Origin{Name: name}, Text: unknownVariable(name, names)})
			continue
		}
		errs = append(errs, c.set(&keys[i], text, Origin{Name: name})...)
	}
	return errs
}

func unknownVariable(name string, names []string) string {
	if strings.HasPrefix(name, variablePrefix+"CLUSTER_") {
		return NoCluster
	}
	if near := nearest(name, names); near != "" {
		return "no setting has this variable; did you mean " + near + "?"
	}
	return "no setting has this variable; `promptmq server --help` lists those that do"
}
