package vm

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestDefaultVariables checks that the variables in the unit files have the values of
// Default. For a variable that is not set, the setup step uses the default of its key.
func TestDefaultVariables(t *testing.T) {
	v := Default()
	for i := range Settings {
		s := &Settings[i]
		for _, unit := range s.units {
			want := s.Value(&v)
			got, set := readUnit(t, unit).environment(t)[s.Name]
			switch {
			case s.Name == "GUEST": // a placeholder
				want = "@guestdir@"
			case !set && s.Recorded && unit == Setup:
				got = want
			}
			if got != want {
				t.Errorf("%s: %s=%s, want %s", unitFiles[unit], s.Name, got, want)
			}
		}
	}
}

// TestMemoryLimits checks that the processes that map the guest's memory have the limit that the
// generator writes for another size.
func TestMemoryLimits(t *testing.T) {
	v := Default()
	for _, unit := range []Unit{Share, Machine} {
		if got := readUnit(t, unit).values("MemoryMax"); len(got) != 1 || "MemoryMax="+got[0] != v.memoryLine() {
			t.Errorf("%s: MemoryMax=%q, want %s", unitFiles[unit], got, v.memoryLine())
		}
	}
}

// TestVariablesDocumented checks that each variable is named in its unit file. The
// comments there are the only documentation of the variables.
func TestVariablesDocumented(t *testing.T) {
	for _, s := range Settings {
		for _, unit := range s.units {
			text, err := os.ReadFile(filepath.Join("../../units", unitFiles[unit]))
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(text), s.Name) {
				t.Errorf("%s does not mention %s", unitFiles[unit], s.Name)
			}
		}
	}
}

// TestDefaultCredentials checks that claude-vm@ loads the credentials of Default, and
// that SetCredential= makes each of them empty if its file is missing.
func TestDefaultCredentials(t *testing.T) {
	unit := readUnit(t, Machine)
	var got, set []string
	for _, value := range unit.values("LoadCredential") {
		got = append(got, "LoadCredential="+value)
	}
	v := Default()
	if diff := cmp.Diff(v.credentialLines(), got); diff != "" {
		t.Errorf("LoadCredential= of %s mismatch (-Default() +unit):\n%s", unitFiles[Machine], diff)
	}
	for _, c := range v.Credentials {
		set = append(set, c.Name+`:\n`)
	}
	if diff := cmp.Diff(set, unit.values("SetCredential")); diff != "" {
		t.Errorf("SetCredential= of %s mismatch (-Default() +unit):\n%s", unitFiles[Machine], diff)
	}
}

// TestGuestLines checks that guestLines replaces every line of the unit that mentions
// the installed guest, so that no setting of the installed guest remains.
func TestGuestLines(t *testing.T) {
	unit := readUnit(t, Machine)
	var got []string
	for _, e := range unit {
		if !strings.Contains(e.Value, "@guestdir@") {
			continue
		}
		for _, word := range unit.words(t, e.Key) {
			if strings.Contains(word, "@guestdir@") {
				got = append(got, e.Key+"="+word)
			}
		}
	}
	var want []string
	v := VM{Guest: "@guestdir@"}
	for _, line := range v.guestLines() {
		if line != "EnvironmentFile=" { // the reset of the list
			want = append(want, strings.ReplaceAll(line, `"`, ""))
		}
	}
	want = append(want, "Environment=GUEST=@guestdir@")
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("lines with a guest (-guestLines() +unit):\n%s", diff)
	}
}

// TestMountLines checks that mounts use the same source and target directories as the
// work directory in the unit.
func TestMountLines(t *testing.T) {
	const name = "rw0"
	v := VM{Mounts: []Mount{{Host: "/a", Guest: "/b"}}}
	got := v.mountLines()
	var want []string
	for _, word := range readUnit(t, Share).words(t, "BindPaths") {
		if from, to, _ := strings.Cut(word, ":"); to == "%h/share/work" {
			want = append(want, fmt.Sprintf("BindPaths=-%s/%s:%s/%s", filepath.Dir(from), name, filepath.Dir(to), name))
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("mountLines() mismatch (-unit +got):\n%s", diff)
	}
}

// TestListsAreReset checks that each list for which the units have several values has a
// line that empties it. Otherwise a VM could not shorten it.
func TestListsAreReset(t *testing.T) {
	v := Default()
	for _, l := range v.lists() {
		if len(l.lines) > 1 && l.reset == "" {
			t.Errorf("no line empties %q", l.lines)
		}
	}
}

func TestFrom(t *testing.T) {
	for name, test := range map[string]struct {
		reset             string
		base, lines, want []string
	}{
		"the same":         {reset: "K=", base: []string{"K=a"}, lines: []string{"K=a"}},
		"nothing":          {reset: "K="},
		"first":            {reset: "K=", lines: []string{"K=a"}, want: []string{"K=a"}},
		"grown":            {reset: "K=", base: []string{"K=a"}, lines: []string{"K=a", "K=b"}, want: []string{"K=b"}},
		"shrunk":           {reset: "K=", base: []string{"K=a", "K=b"}, lines: []string{"K=a"}, want: []string{"K=", "K=a"}},
		"emptied":          {reset: "K=", base: []string{"K=a"}, want: []string{"K="}},
		"reordered":        {reset: "K=", base: []string{"K=a", "K=b"}, lines: []string{"K=b", "K=a"}, want: []string{"K=", "K=b", "K=a"}},
		"replaced":         {reset: "K=", base: []string{"K=a"}, lines: []string{"K=b"}, want: []string{"K=", "K=b"}},
		"not a list":       {base: []string{"K=a"}, lines: []string{"K=b"}, want: []string{"K=b"}},
		"not a list, gone": {base: []string{"K=a"}},
		"not a list, same": {base: []string{"K=a"}, lines: []string{"K=a"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := list{lines: test.lines, reset: test.reset}.from(list{lines: test.base, reset: test.reset})
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("from() mismatch (-want +got):\n%s", diff)
			}
		})
	}
}

func TestLines(t *testing.T) {
	for name, test := range map[string]struct {
		base, change func(*VM)
		want         [unitCount][]string
	}{
		"nothing differs": {},
		"nothing differs from defaults": {
			base: func(v *VM) { v.Memory, v.Hide, v.Home = 1<<30, []string{".env"}, "user" },
		},
		"variables": {
			change: func(v *VM) { v.Memory, v.CPUs, v.Accelerator = 512<<20, 1, "tcg" },
			want: [unitCount][]string{Share: {"MemoryMax=2048M"}, Machine: {
				`Environment="MEMORY=512M"`, `Environment="CPUS=1"`, `Environment="ACCELERATOR=-accel tcg,thread=single"`, "MemoryMax=2048M",
			}},
		},
		"the user's own limit": {
			base:   func(v *VM) { v.MemoryMax = true }, // in defaults.conf
			change: func(v *VM) { v.Memory = 512 << 20 },
			want:   [unitCount][]string{Share: {"MemoryMax=2048M"}, Machine: {`Environment="MEMORY=512M"`}},
		},
		"a variable of the setup unit": {
			change: func(v *VM) { v.Home = "user" },
			want: [unitCount][]string{
				Setup: {`Environment="CLAUDE_HOME=user"`},
			},
		},
		"back to the units' defaults": {
			base:   func(v *VM) { v.Memory, v.Terminal = 1<<30, "no" },
			change: func(v *VM) { v.Memory, v.Terminal = 4<<30, "auto" },
			want:   [unitCount][]string{Setup: {`Environment="CLAUDE_TERMINAL=auto"`}, Share: {"MemoryMax=5632M"}, Machine: {`Environment="MEMORY=4096M"`, "MemoryMax=5632M"}},
		},
		"a refusal": {
			change: func(v *VM) { v.Refusal = `a.vm:1: 100% "wrong"` },
			want:   [unitCount][]string{Setup: {`Environment="REFUSAL=a.vm:1: 100%% \"wrong\""`}},
		},
		"a long directory": {
			change: func(v *VM) { v.WorkDirectory, v.Long = "/srv/long", true },
			want:   [unitCount][]string{Setup: {`Environment="WORK_DIRECTORY=/srv/long"`}},
		},
		"a directory that is not long": {
			change: func(v *VM) { v.WorkDirectory = "/srv/short" },
		},
		"paths": {
			change: func(v *VM) { v.ReadOnly, v.Hide = nil, []string{"a b", "100%"} },
			want:   [unitCount][]string{Setup: {`Environment="READ_ONLY="`, `Environment="HIDE=\"a b\" 100%%"`}},
		},
		"a list is emptied": {
			base:   func(v *VM) { v.Credentials = []Credential{{Name: "A"}} },
			change: func(v *VM) { v.Credentials, v.Inject = nil, nil },
			want:   [unitCount][]string{Setup: {`Environment="INJECT="`, "LoadCredential="}, Machine: {"LoadCredential="}},
		},
		"a list that defaults.conf has emptied": {
			base:   func(v *VM) { v.Credentials = nil },
			change: func(v *VM) { v.Credentials = []Credential{{Name: "A", Path: "/srv/a"}} },
			want:   [unitCount][]string{Machine: {"LoadCredential=A:/srv/a"}},
		},
		"another guest": {
			base:   func(v *VM) { v.Guest = "/srv/a" },
			change: func(v *VM) { v.Guest = "/srv/b" },
			want: [unitCount][]string{
				Setup: {`Environment="GUEST=/srv/b"`},
				Machine: {
					`Environment="GUEST=/srv/b"`, "EnvironmentFile=", "EnvironmentFile=/srv/b/guest.env", `BindReadOnlyPaths="-/srv/b"`,
				},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			base := Default()
			if test.base != nil {
				test.base(&base)
			}
			v := base.Clone()
			if test.change != nil {
				test.change(&v)
			}
			got, err := base.Base().Lines(&v)
			if diff := cmp.Diff(test.want, got); diff != "" || err != nil {
				t.Errorf("Lines() mismatch (-want +got):\n%s%v", diff, err)
			}
		})
	}
}

func TestLinesErrors(t *testing.T) {
	base, v := Default(), Default()
	base.Guest = "/srv/guest"
	if _, err := base.Base().Lines(&v); err == nil || err.Error() != "Guest=/srv/guest in defaults.conf cannot be reset: set another Guest= instead" {
		t.Errorf("a guest that is reset: %v", err)
	}
	base.Guest, v.QEMUArguments = "", []string{"a\nb"}
	if _, err := base.Base().Lines(&v); err == nil || err.Error() != `QEMUArguments=: "a\nb" contains a control character` {
		t.Errorf("a line break: %v", err)
	}
}
