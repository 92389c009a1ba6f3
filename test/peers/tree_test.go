//go:build bench

package peers

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// tree makes what the tasks of job work on: in tree, a git repository with files of a KB; in npm, a project
// whose packages are archives beside it; in go, a module whose packages are built already.
func (p *peer) tree(t *testing.T) {
	t.Helper()
	for _, name := range []string{"tree", "npm", "go", "cache"} {
		check(t, os.RemoveAll(filepath.Join(p.dir, name)))
	}
	p.put(t, "files", "")
	for i := range *files {
		write(t, filepath.Join(p.dir, "tree", fmt.Sprintf("d%d/%d", i/100, i%100)), fmt.Sprintf("file %d\n", i)+strings.Repeat("text\n", 200))
	}
	if *builds && !p.noBuilds {
		npmProject(t, filepath.Join(p.dir, "npm"))
		goModule(t, filepath.Join(p.dir, "go"))
		// By the guests' Go, in the guests' directory, so that they find it up to date.
		prepare(t, exec.Command("unshare", "--mount", "sh", "-ec", `mount --bind "$1" "$2/work"; mount --bind /proc "$2/proc"; mount --bind /dev "$2/dev"; exec chroot "$2" sh -ec "$3"`, "sh", p.dir, guest+"/tree",
			"cd /work/go && HOME=/tmp GOCACHE=/work/cache go build -trimpath -o program . && rm program"))
	}
	prepare(t, exec.Command("chown", "-R", fmt.Sprintf("%d:%[1]d", p.as), p.dir))
	// Last: git reads a file again whose owner was set after it was added.
	prepare(t, p.command(exec.Command("sh", "-ec", `cd "$1/tree"; git init -q; git config user.name a; git config user.email a@example.org; git add .; git commit -qm tree`, "sh", p.dir)))
	prepare(t, exec.Command("sync"))
}

// npmProject makes a project with 40 packages of 30 files.
func npmProject(t *testing.T, dir string) {
	t.Helper()
	type object = map[string]any
	names, locked := object{}, object{}
	for i := range 40 {
		name := fmt.Sprintf("package%d", i)
		names[name] = "file:" + name + ".tgz"
		locked["node_modules/"+name] = object{"version": "1.0.0", "resolved": names[name]}
		check(t, os.MkdirAll(dir, 0o755))
		f, err := os.Create(filepath.Join(dir, name+".tgz"))
		check(t, err)
		z := gzip.NewWriter(f)
		archive := tar.NewWriter(z)
		add := func(name, text string) {
			check(t, archive.WriteHeader(&tar.Header{Name: "package/" + name, Mode: 0o644, Size: int64(len(text))}))
			_, err := archive.Write([]byte(text))
			check(t, err)
		}
		add("package.json", fmt.Sprintf(`{"name": %q, "version": "1.0.0"}`, name))
		for k := range 29 {
			add(fmt.Sprintf("lib/%d.js", k), strings.Repeat(fmt.Sprintf("exports.f%d = () => %d\n", k, i), 100))
		}
		check(t, archive.Close())
		check(t, z.Close())
		check(t, f.Close())
	}
	project := object{"name": "project", "version": "1.0.0", "dependencies": names}
	locked[""] = project
	for name, value := range map[string]object{
		"package.json":      project,
		"package-lock.json": {"name": "project", "version": "1.0.0", "lockfileVersion": 3, "requires": true, "packages": locked},
	} {
		text, err := json.Marshal(value)
		check(t, err)
		write(t, filepath.Join(dir, name), string(text))
	}
}

// goModule makes a module with 100 packages of 5 files.
func goModule(t *testing.T, dir string) {
	t.Helper()
	write(t, filepath.Join(dir, "go.mod"), "module example.org/m\n\ngo 1.24\n")
	var imports, calls strings.Builder
	for i := range 100 {
		for k := range 5 {
			write(t, filepath.Join(dir, fmt.Sprintf("p%d/%d.go", i, k)), fmt.Sprintf("package p%d\n\nfunc F%d() int { return %d }\n", i, k, k))
		}
		fmt.Fprintf(&imports, "import \"example.org/m/p%d\"\n", i)
		fmt.Fprintf(&calls, "\tfmt.Println(p%d.F0())\n", i)
	}
	write(t, filepath.Join(dir, "main.go"), "package main\n\nimport \"fmt\"\n"+imports.String()+"\nfunc main() {\n"+calls.String()+"}\n")
}

func write(t *testing.T, path, text string) {
	t.Helper()
	check(t, os.MkdirAll(filepath.Dir(path), 0o755))
	check(t, os.WriteFile(path, []byte(text), 0o644))
}

// prepare runs a command that prepares something.
func prepare(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
}
