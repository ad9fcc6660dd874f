package access

import "strings"

// Shadows reports whether the Rule decides everything that other is about, if it is asked
// before it: other then has no effect. It may say no where only names that nobody has, or
// several rules together, make it so.
func (r *Rule) Shadows(other *Rule) bool {
	switch {
	case r.User != "" && r.User != other.User,
		r.Nobody && !other.Nobody,
		r.Client != "" && r.Client != other.Client,
		r.Group != "" && r.Group != other.Group,
		other.Actions&^r.Actions != 0,
		r.isPattern() && !other.isPattern(),
		r.Literal && (!other.Literal || r.Filter != other.Filter):
		return false
	case r.Deny:
	case other.Deny && (r.MaxQoS < 2 || r.NoRetain && other.Actions&Publish != 0),
		!other.Deny && (r.MaxQoS < other.MaxQoS || r.NoRetain && !other.NoRetain && other.Actions&Publish != 0):
		return false
	}
	return r.filterShadows(other)
}

// isPattern reports whether the Rule is about no Client with + or # in its names.
func (r *Rule) isPattern() bool { return r.Mosquitto && r.User == "" && !r.Nobody }

func (r *Rule) filterShadows(other *Rule) bool {
	wide, named := outermost(r)
	narrow, _ := outermost(other)
	switch {
	case other.Mosquitto && !r.Mosquitto && other.Actions&Subscribe != 0:
		return false // other is about Topic Filters that the Rule may not cover
	case r.Filter == other.Filter && r.Mosquitto == other.Mosquitto && (r.Deny || !other.Deny):
		return true
	}
	return !named && narrow != "" && covers(wide, narrow)
}

// outermost is a Topic Filter that covers those which the Rule has for all Subjects, and whether
// a name is put into it; "": there is none, as # covers no topic that begins with a $.
func outermost(r *Rule) (filter string, named bool) {
	var b strings.Builder
	for _, p := range splitFilter(r.Filter) {
		if p.name == 0 {
			b.WriteString(p.text)
			continue
		}
		level := strings.LastIndexByte(b.String(), '/') + 1 // where that begins which the name is in
		if level == 0 && (b.Len() > 0 || r.Deny || r.Mosquitto) {
			return "", true // a $ may come to its begin
		}
		return b.String()[:level] + "#", true
	}
	return b.String(), false
}
