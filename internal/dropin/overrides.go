package dropin

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/unitfile"
	"github.com/t0mpr1c3/claude-microvm/internal/vm"
)

// Overrides returns the drop-ins with which an instance gets the settings of v instead of
// base for a single run. token is Request.Overrides of the request for this run: setup
// rejects a request with another token, which is for other overrides.
func Overrides(id string, v, base vm.VM, token string) (Tree, error) {
	lines, err := base.Base().Lines(&v)
	if err != nil {
		return nil, err
	}
	lines[vm.Setup] = append(lines[vm.Setup], "Environment="+unitfile.Environment("OVERRIDES", token))
	var t Tree
	for _, p := range instance.Parts {
		if p.Settings == 0 {
			continue
		}
		var passedUnit, passedService []unitfile.Entry
		if p.Settings == vm.Machine {
			passedUnit, passedService = v.Unit[len(base.Unit):], v.Service[len(base.Service):]
		}
		own := lines[p.Settings]
		if len(own)+len(passedUnit)+len(passedService) > 0 {
			t = append(t, Node{Path: overridesPath(p.Unit(id)), Text: dropInText(nil, own, passedUnit, passedService)})
		}
	}
	return t, nil
}

func overridesPath(unit string) string { return filepath.Join(unit+".d", overridesName) }

// OverridePaths returns all paths that Overrides can return. The first one belongs to
// the setup unit.
func OverridePaths(id string) []string {
	var paths []string
	for _, unit := range instance.Configured(id) {
		paths = append(paths, overridesPath(unit))
	}
	return paths
}

// OverridesIn lists the overrides of all instances in a unit directory.
func OverridesIn(dir string) ([]string, error) {
	return glob(dir, "claude-vm*@*.service.d", overridesName)
}

// RemoveOverrides removes the overrides of an instance from dir, the runtime unit
// directory. It reports whether there were any.
func RemoveOverrides(dir, id string) (removed bool, err error) {
	for _, name := range OverridePaths(id) {
		path := filepath.Join(dir, name)
		err := os.Remove(path)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return removed, err
		}
		removed = true
		os.Remove(filepath.Dir(path)) // fails if it has other files
	}
	return removed, nil
}
