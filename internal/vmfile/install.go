package vmfile

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/unitfile"
	"github.com/t0mpr1c3/claude-microvm/internal/vm"
)

// installKeys maps the keys of [Install] to vm.Link.Kind: the suffix of the directory in
// which systemd looks for such links, for example default.target.wants.
var installKeys = map[string]string{"WantedBy": "wants", "RequiredBy": "requires", "UpheldBy": "upholds"}

// install applies an assignment in [Install].
func (r *applier) install(e unitfile.Entry) *failure.Error {
	kind, ok := installKeys[e.Key]
	switch {
	case r.defaults:
		return &failure.Error{Err: errors.New("[Install] is not allowed in defaults.conf, which applies to all VMs")}
	case !ok:
		return &failure.Error{
			Err:  fmt.Errorf("unknown key %s= in [Install]", abridged(e.Key)),
			Hint: didYouMean("%s=", e.Key, []string{"WantedBy", "RequiredBy", "UpheldBy"}),
		}
	case e.Value == "":
		kept := r.vm.Links[:0]
		for _, l := range r.vm.Links {
			if l.Kind != kind {
				kept = append(kept, l)
			}
		}
		r.vm.Links = kept
		return nil
	}
	for _, target := range strings.Fields(e.Value) {
		if !isUnitName(target) {
			return &failure.Error{Err: fmt.Errorf("%s=%s: %q is not a valid unit name", e.Key, abridged(e.Value), abridged(target))}
		}
		if l := (vm.Link{Target: target, Kind: kind}); !slices.Contains(r.vm.Links, l) {
			r.vm.Links = append(r.vm.Links, l)
		}
	}
	return nil
}

// isUnitName reports whether name is a valid unit name. It must also be short enough for
// the name of a directory of links.
func isUnitName(name string) bool {
	stem, suffix, found := cutLast(name, ".")
	if !found || stem == "" || strings.HasPrefix(stem, "@") || len(name) > 255-len(".requires") {
		return false
	}
	switch suffix {
	case "service", "socket", "target", "timer", "path", "mount", "automount", "swap", "slice", "scope", "device":
	default:
		return false
	}
	return strings.IndexFunc(stem, func(r rune) bool {
		return !strings.ContainsRune(`:-_.\@`, r) && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	}) < 0
}

// cutLast is like strings.Cut, but cuts at the last sep.
func cutLast(text, sep string) (before, after string, found bool) {
	i := strings.LastIndex(text, sep)
	if i < 0 {
		return text, "", false
	}
	return text[:i], text[i+len(sep):], true
}
