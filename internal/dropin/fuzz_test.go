package dropin

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/unitfile"
	"github.com/t0mpr1c3/claude-microvm/internal/vm"
	"github.com/t0mpr1c3/claude-microvm/internal/vmfile"
)

var me = instance.Paths{
	User: "me", UID: "1000", Home: "/home/me", Runtime: "/run/user/1000",
	Config: "/home/me/.config", State: "/home/me/.local/state", Cache: "/home/me/.cache",
}

// generated is the result of the generator.
type generated struct {
	set  vmfile.Set
	tree Tree
	errs []*failure.Error
}

func generate(dir string) generated {
	g := generated{set: vmfile.Load([]string{dir}, me)}
	g.tree, g.errs = Build(g.set, me)
	g.errs = append(g.set.Errors, g.errs...)
	return g
}

// text returns all of g in a form that tests can compare.
func (g generated) text() string {
	var b strings.Builder
	if err := g.tree.Print(&b); err != nil {
		panic(err) // a Builder returns no errors
	}
	for _, e := range g.errs {
		fmt.Fprintf(&b, "%s (%s)\n", e, e.Hint)
	}
	return b.String()
}

// FuzzGenerate writes any bytes to a .vm file, a drop-in of it and defaults.conf, and
// checks that the tree has only valid nodes and that errors keep a VM from starting.
func FuzzGenerate(f *testing.F) {
	const (
		plain = "[VM]\nWorkDirectory=%h/web\nMemory=8G\n"
		all   = "[VM]\nWorkDirectory=/srv/a b\nGuest=/srv/%%g\nQEMUArguments=-a \"b c\"\n[Claude]\nArguments=a \"b\\nc\" %N\nEnvironment=A=1 \"B=\\\"\"\n" +
			"Credential=X Y:/srv/%%y\nSettingsFile=/srv/s\nHome=user\nSkipPermissions=1\nTerminal=no\n[Share]\nReadOnly=a/b \"c d/e\"\nHide=.env 'q\"/r'\n" +
			"Mount=/srv/a:/a /srv/b:/b:ro\n[Network]\nPublishPort=80 0.0.0.0:53/udp\n[Unit]\nAfter=%i \\\n b\n[Service]\nExecStart=\nMemoryMax=1G\n[Install]\nWantedBy=a.target b@c.service\n"
	)
	for _, seed := range [][3]string{
		{plain, "", ""},
		{all, plain, all[strings.Index(all, "Guest"):]},
		{all, "", "[VM]\nMemory=6G\nGuest=/srv/g\n[Claude]\nCredential=\n[Share]\nHide=x\nReadOnly=\n[Service]\nA=b\n"},
		{plain, "[VM]\nWorkDirectory=/srv/other\nMemory=\nGuest=\n", "[VM]\nGuest=/srv/g\n"},
		{plain, "[VM]\nCPUs=0\n[Install]\nWantedBy=a.target\n", "[Network]\nPublishPort=80\n[Service]\nA=b\n"},
		{plain, "[Network]\nMode=none\n", "[Network]\nPublishPort=80\n"},
		{plain, "", "[Nonsense]\n"},
		{"[VM]\nWorkDirectory=/srv/" + strings.Repeat("é", 120) + "\n", "[Install]\nUpheldBy=x.target\n", ""},
		{"[VM]\r\nWorkDirectory=/srv/\\\r\n#\r\n;\rb\r\n", "\ufeff[X-A]\nB=\x00\n", "#"},
		{"[VM]\nWorkDirectory=/home/me\n", "[Service]\nA=\\\\\\\n", "[Install]\nWantedBy=a.target\n"},
		{"[VM]\nWorkDirectory=/\xff\n[VM", "=", "WorkDirectory=/"},
	} {
		f.Add([]byte(seed[0]), []byte(seed[1]), []byte(seed[2]))
	}
	dir := f.TempDir()
	paths := []string{filepath.Join(dir, "web.vm"), filepath.Join(dir, "web.vm.d", "10.conf"), filepath.Join(dir, "defaults.conf")}
	if err := os.Mkdir(filepath.Dir(paths[1]), 0o755); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, file, dropin, defaults []byte) {
		for i, text := range [][]byte{file, dropin, defaults} {
			if err := os.WriteFile(paths[i], text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		g := generate(dir)
		if diff := cmp.Diff(g.text(), generate(dir).text()); diff != "" {
			t.Fatalf("the second run gives another tree:\n%s", diff)
		}
		g.checkNodes(t)
		g.checkRefusals(t, paths)
	})
}

// settingKeys are the keys of [Service] to which settings are converted.
var settingKeys = []string{
	"Environment", "EnvironmentFile", "BindPaths", "BindReadOnlyPaths", "MemoryMax", "LoadCredential", "ReadOnlyPaths", "ReadWritePaths", "InaccessiblePaths",
}

var (
	dropinPath = regexp.MustCompile(`^(claude-vm|claude-vm-setup|claude-vm-virtiofsd)@([^/]*)\.service\.d/(10-defaults|50-vm)\.conf$`)
	linkPath   = regexp.MustCompile(`^[^/@.][^/]*\.[a-z]+\.(wants|requires|upholds)/claude-vm@[^/]+\.service$`)
)

// checkNodes checks that all nodes are drop-ins and links of claude-vm's units, with
// unique paths.
func (g generated) checkNodes(t *testing.T) {
	t.Helper()
	seen := map[string]bool{}
	for _, n := range g.tree {
		if seen[n.Path] || !filepath.IsLocal(n.Path) || n.Path != filepath.Clean(n.Path) {
			t.Fatalf("%q is a duplicate, or outside of the directory", n.Path)
		}
		seen[n.Path] = true
		for part := range strings.SplitSeq(n.Path, "/") {
			if len(part) > 255 {
				t.Fatalf("%q is too long for a file name", part)
			}
		}
		if n.Target != "" {
			if n.Target != "../claude-vm@.service" || n.Text != "" || !linkPath.MatchString(n.Path) {
				t.Fatalf("%q -> %q is not a link to claude-vm@.service", n.Path, n.Target)
			}
			continue
		}
		m := dropinPath.FindStringSubmatch(n.Path)
		if m == nil || (m[2] == "") != (m[3] == "10-defaults") {
			t.Fatalf("%q is not a drop-in of a unit with settings", n.Path)
		}
		g.checkText(t, n, m[1], m[2])
	}
}

// checkText checks that a drop-in has lines of settings, followed by the unchanged lines
// that are copied from the .vm file.
func (g generated) checkText(t *testing.T, n Node, unit, id string) {
	t.Helper()
	if !strings.HasPrefix(n.Text, header) || !strings.HasSuffix(n.Text, "\n") {
		t.Fatalf("%s is %q", n.Path, n.Text)
	}
	for line := range strings.Lines(n.Text) {
		if len(line) >= unitfile.MaxSize {
			t.Fatalf("%s has a line of %d bytes, which systemd does not read", n.Path, len(line))
		}
	}
	file, errs := unitfile.Parse(n.Path, []byte(n.Text))
	if len(errs) > 0 {
		t.Fatalf("%v in\n%s", errs, n.Text)
	}
	var got [2][]unitfile.Entry
	for _, e := range file.Entries {
		e.Line = 0
		switch e.Section {
		case "Unit":
			got[0] = append(got[0], e)
		case "Service":
			got[1] = append(got[1], e)
		default:
			t.Fatalf("%s has a section [%s]", n.Path, e.Section)
		}
	}
	passed := g.passed(unit, id)
	for i, entries := range got {
		rest := len(entries) - len(passed[i])
		if rest < 0 || !slices.Equal(entries[rest:], passed[i]) {
			t.Fatalf("%s lacks some of %v:\n%s", n.Path, passed[i], n.Text)
		}
		got[i] = entries[:rest]
	}
	if len(got[0]) != 2 || got[0][0].Key != "Documentation" || got[0][1].Key != "SourcePath" {
		t.Fatalf("[Unit] of %s has %v", n.Path, got[0])
	}
	for _, e := range got[1] {
		if !slices.Contains(settingKeys, e.Key) {
			t.Fatalf("[Service] of %s has %s=", n.Path, e.Key)
		}
	}
}

// passed returns the lines of [Unit] and [Service] that must be copied to a unit, without
// line numbers.
func (g generated) passed(unit, id string) [2][]unitfile.Entry {
	v := g.set.Defaults
	if id != "" {
		v = g.set.VMs[0]
	}
	if unit != "claude-vm" || v.Refusal != "" || !g.starts(v) {
		return [2][]unitfile.Entry{}
	}
	out := [2][]unitfile.Entry{slices.Clone(v.Unit), slices.Clone(v.Service)}
	for _, entries := range out {
		for i := range entries {
			entries[i].Line = 0
		}
	}
	return out
}

// starts reports whether Build can convert the settings of a VM.
func (g generated) starts(v vm.VM) bool {
	_, err := g.set.Defaults.Base().Lines(&v)
	return err == nil || v.Name == ""
}

// checkRefusals checks that a VM is refused if and only if one of its files has an error.
func (g generated) checkRefusals(t *testing.T, paths []string) {
	t.Helper()
	refusals := map[string]string{}
	for _, n := range g.tree {
		for line := range strings.Lines(n.Text) {
			if text, found := strings.CutPrefix(strings.TrimSuffix(line, "\n"), `Environment="REFUSAL=`); found {
				refusals[n.Path] = strings.TrimSuffix(text, `"`)
			}
		}
	}
	for path, text := range refusals {
		if text == "" || !strings.HasPrefix(path, "claude-vm-setup@") {
			t.Fatalf("%s has a refusal %q", path, text)
		}
	}
	var ofVM, ofDefaults bool
	for _, e := range g.errs {
		ofVM = ofVM || e.File == paths[0] || e.File == paths[1]
		ofDefaults = ofDefaults || e.File == paths[2]
	}
	template := instance.Setup.Unit("") + ".d/" + defaultsName
	if _, refused := refusals[template]; refused != ofDefaults {
		t.Fatalf("an error in defaults.conf: %v; all refused: %v", ofDefaults, refused)
	}
	if len(g.set.VMs) == 0 {
		return
	}
	id, _, err := me.PathID(g.set.VMs[0].WorkDirectory)
	if err != nil {
		return
	}
	if _, refused := refusals[instance.Setup.Unit(id)+".d/"+vmName]; refused != ofVM {
		t.Fatalf("an error of the VM: %v; refused: %v", ofVM, refused)
	}
	for _, n := range g.tree {
		if ofVM && (n.Target != "" || strings.HasPrefix(n.Path, instance.VM.Unit(id))) {
			t.Fatalf("a refused VM has %s", n.Path)
		}
	}
}
