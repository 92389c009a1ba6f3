package vmfile

import (
	"cmp"

	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/policy"
	"github.com/t0mpr1c3/claude-microvm/internal/unitfile"
	"github.com/t0mpr1c3/claude-microvm/internal/vm"
)

// Applied returns the settings of an instance with the work directory dir, as they are in
// the environment variables of its units: those in vm.Settings that are Recorded, and whether
// there is a network. A setting whose variable is empty has its default.
func Applied(getenv func(name string) string, dir string) (vm.VM, error) {
	edit := failure.Command("claude-vm-ctl", "edit", dir)
	v := vm.Default()
	// The lists of the default are in the variables of the units, too.
	v.WorkDirectory, v.ReadOnly, v.Inject = dir, nil, nil
	for i := range vm.Settings {
		s := &vm.Settings[i]
		text := getenv(s.Name)
		if !s.Recorded || text == "" {
			continue
		}
		k := findKey("", s.Key)
		words := []string{text}
		var err error
		if k.words {
			words, err = unitfile.Split(text)
		}
		for i := 0; err == nil && i < len(words); i++ {
			err = k.set(&v, words[i])
		}
		if err != nil {
			return v, failure.New(failure.HostUnable, cmp.Or(failure.HintOf(err), edit), "%s=%s: %w", s.Name, abridged(text), err)
		}
	}
	if getenv("NETWORK") == "" {
		v.Network = policy.None
	}
	if _, err := v.Validate(); err != nil {
		return v, failure.New(failure.HostUnable, edit, "%w", err)
	}
	return v, nil
}
