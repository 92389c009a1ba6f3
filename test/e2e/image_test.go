//go:build e2e

package e2e

import (
	"archive/tar"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/test/ocilayout"
)

// imageTree is the root directory of an image for a test.
type imageTree struct {
	t     *testing.T
	files []ocilayout.File
	seen  map[string]bool
}

func (i *imageTree) text(name, text string) {
	i.files = append(i.files, ocilayout.File{Header: tar.Header{Name: name}, Text: text})
}

func (i *imageTree) link(name, target string) {
	i.files = append(i.files, ocilayout.File{Header: tar.Header{Name: name, Linkname: target}})
}

// copy adds a file of the test host.
func (i *imageTree) copy(name, from string) {
	i.t.Helper()
	if i.seen[name] {
		return
	}
	if i.seen == nil {
		i.seen = map[string]bool{}
	}
	i.seen[name] = true
	text, err := os.ReadFile(from)
	if err != nil {
		i.t.Fatal(err)
	}
	i.text(name, string(text))
}

// programs adds dynamically linked programs of the test host to /usr/bin. Their libraries are in
// libraries, and the dynamic linker in usr/lib64, to which lib64 is a link.
func (i *imageTree) programs(libraries string, names ...string) {
	i.t.Helper()
	i.copy("usr/lib64/ld-linux-x86-64.so.2", "/lib64/ld-linux-x86-64.so.2")
	for _, name := range names {
		path, err := exec.LookPath(name)
		if err != nil {
			i.t.Fatal(err)
		}
		i.copy("usr/bin/"+name, path)
		out, err := exec.Command("ldd", path).Output()
		if err != nil {
			i.t.Fatal(err)
		}
		for line := range strings.Lines(string(out)) {
			if fields := strings.Fields(line); len(fields) == 4 {
				i.copy(libraries+fields[0], fields[2])
			}
		}
	}
	for _, name := range []string{"libpthread.so.0", "libdl.so.2", "libm.so.6", "librt.so.1"} { // of Claude Code
		i.copy(libraries+name, "/lib/x86_64-linux-gnu/"+name)
	}
}

// build writes an image with this tree and a second layer, and makes a guest of it.
func (i *imageTree) build(p *project, name string, env []string, second ...ocilayout.File) {
	i.t.Helper()
	dir := filepath.Join(filepath.Dir(p.dir), "layout of "+name)
	first, err := ocilayout.Layer(i.files...)
	if err != nil {
		i.t.Fatal(err)
	}
	layers := [][]byte{first}
	if len(second) > 0 {
		layer, err := ocilayout.Layer(second...)
		if err != nil {
			i.t.Fatal(err)
		}
		layers = append(layers, layer)
	}
	if err := ocilayout.Write(dir, env, layers...); err != nil {
		i.t.Fatal(err)
	}
	r := p.ctl("guest", "build", "--name", name, "--from", dir).ok()
	if want := "built " + name + " from " + dir + ", "; !strings.HasPrefix(r.stdout, want) || r.stderr != "" {
		i.t.Errorf("guest build: %q, %q, want %q", r.stdout, r.stderr, want)
	}
	i.t.Cleanup(func() { p.ctl("guest", "rm", name) })
}

// wantInside checks what each image must give: Claude Code, a shell, and files with the right
// owner.
func (p *project) wantInside(user string) {
	p.t.Helper()
	if got := p.guest(`claude --version; id -un; id -u; id -g; echo $SHELL | sed 's/.*\///'; [ -r /etc/resolv.conf ]; cd ~; touch made`); got != pinned(p.t.(*testing.T))+" (Claude Code)\n"+user+"\n1000\n1000\nbash\n" {
		p.t.Errorf("in the image: %s", got)
	}
	p.guest("echo inside >of-claude; git init -q repository; git -C repository commit -q --allow-empty -m first 2>/dev/null || " +
		"git -C repository -c user.name=x -c user.email=x commit -q --allow-empty -m first; git -C repository log --oneline | grep -q first")
	if r := p.root("echo root >of-root; id -u; exit 7"); r.status != 7 || r.stdout != "0\n" {
		p.t.Errorf("root: %+v", r)
	}
	p.wantScratchDir()
	for _, name := range []string{"of-claude", "of-root"} {
		if got := strings.TrimSpace(p.command("stat", "-c", "%U:%G", name).stdout); got != "dev:dev" {
			p.t.Errorf("owner of %s: %s", name, got)
		}
	}
}

// TestImages runs Claude in images of each kind, one after the other.
func TestImages(t *testing.T) {
	t.Parallel()
	t.Run("musl", testMuslImage)
	t.Run("Debian", testDebianImage)
	t.Run("Fedora", testFedoraImage)
	t.Run("static", testStaticImage)
}

// testMuslImage is like Alpine: musl, busybox, no bash, no git.
func testMuslImage(t *testing.T) {
	p := newProject(t, "musl")
	i := imageTree{t: t}
	i.copy("bin/busybox", "/usr/bin/busybox")
	i.copy("lib/ld-musl-x86_64.so.1", "/lib/ld-musl-x86_64.so.1")
	for _, name := range []string{"sh", "cat", "id", "ls", "sed", "touch"} {
		i.link("bin/"+name, "busybox")
	}
	i.link("var/run", "/run")
	i.text("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n")
	i.text("etc/profile", "PATH=/bin\nfor f in /etc/profile.d/*.sh; do . $f; done\n")
	i.text("removed", "")
	i.text("work/of the image", "")
	i.build(p, "musl", []string{"PATH=/opt:/bin", "OF_IMAGE=a b", "HOME=/nowhere"},
		ocilayout.File{Header: tar.Header{Name: "opt/tool"}, Text: "#!/bin/sh\necho \"tool $OF_IMAGE $HOME\"\n"}, ocilayout.File{Header: tar.Header{Name: ".wh.removed"}})

	p.write("of the project", "")
	r := p.ctl("run", "--set", "Guest=musl", ".", "--", "--dangerously-skip-permissions", "-p", "run: tool && ls /work/ && ls /removed").ok()
	if !strings.Contains(r.stdout, "tool a b /home/claude\nof the project\n") || !strings.Contains(r.stdout, "/removed: No such file or directory") {
		t.Errorf("Claude ran a tool: %s", r.stdout)
	}
	p.ctl("start", "--set", "Guest=musl", ".").ok()
	p.wantInside("claude")
	// What login shells read must not lose the PATH of the image.
	if r := p.input("tool; exit 3\n", "claude-vm-ctl", "shell"); r.status != 3 || r.stdout != "tool a b /home/claude\n" {
		t.Errorf("a login shell: %+v", r)
	}
	status := p.ctl("status").stdout
	for _, want := range []string{"Image: musl, from ", "Claude: " + pinned(t) + "\n"} {
		if !strings.Contains(status, want) {
			t.Errorf("status: %s, want %s", status, want)
		}
	}
	i.build(p, "musl", nil) // while it is in use
	if status := p.ctl("status").stdout; !strings.Contains(status, "Next image: built 2") {
		t.Errorf("status after another build: %s", status)
	}
	p.guest("echo still here")
	p.ctl("guest", "rm", "musl").fails(1, "the guest musl is used by the VM on "+p.dir, "claude-vm-ctl stop "+p.dir)
	p.ctl("stop").ok()
	p.wantGone()
	p.ctl("guest", "rm", "musl").ok()
	if r := p.ctl("start", "--set", "Guest=musl", "."); r.status != 121 || !strings.Contains(r.stderr, "there is no guest musl\n") {
		t.Errorf("a start without the guest: %+v", r)
	}
	p.systemctl("reset-failed", instance.Setup.Unit(p.id)).ok()
}

// testDebianImage has glibc in Debian's directories, and a user like the images of node.
func testDebianImage(t *testing.T) {
	p := newProject(t, "debian")
	i := imageTree{t: t}
	for _, name := range []string{"bin", "lib", "lib64"} {
		i.link(name, "usr/"+name)
	}
	i.programs("usr/lib/x86_64-linux-gnu/", "bash", "cat", "id", "ls", "sed", "touch", "git")
	i.link("usr/bin/sh", "bash")
	i.text("etc/passwd", "root:x:0:0:root:/root:/bin/bash\nnode:x:1000:1000::/home/node:/bin/bash\n")
	i.text("etc/group", "root:x:0:\nnode:x:1000:\nextra:x:77:node\n")
	i.files = append(i.files, ocilayout.File{Header: tar.Header{Name: "home/node/", Uid: 1000, Gid: 1000}})
	i.text("home/node/.profile", "")
	i.files = append(i.files, ocilayout.File{Header: tar.Header{Name: "opt/setuid", Mode: 0o4755}, Text: "x"},
		ocilayout.File{Header: tar.Header{Typeflag: tar.TypeLink, Name: "opt/again", Linkname: "opt/setuid"}},
		ocilayout.File{Header: tar.Header{Name: "opt/owned", Mode: 0o640, Uid: 123, Gid: 456}, Text: "x"})
	i.build(p, "debian", nil)
	p.ctl("start", "--set", "Guest=debian", "--home", "project", ".").ok()
	p.wantInside("node")
	if got := p.guest("id -G; echo $HOME; cd /home/claude; pwd -P; command -v git jq"); got != "1000 77\n/home/node\n/home/node\n/usr/bin/git\n/run/claude-vm/bin/jq\n" {
		t.Errorf("the user of the image: %s", got)
	}
	if got := p.guest("stat -c '%a %u %g %h' /opt/*"); got != "4755 0 0 2\n640 123 456 1\n4755 0 0 2\n" {
		t.Errorf("modes, owners and links: %s", got)
	}
	if _, err := os.Stat(filepath.Join(os.Getenv("HOME"), ".local/state/claude-vm/project", p.id, "made")); err != nil {
		t.Errorf("a file in the home, which is kept: %v", err)
	}
}

// testFedoraImage has glibc in /usr/lib64.
func testFedoraImage(t *testing.T) {
	p := newProject(t, "fedora")
	i := imageTree{t: t}
	for _, name := range []string{"bin", "lib", "lib64"} {
		i.link(name, "usr/"+name)
	}
	i.text("usr/lib/os-release", "ID=fedora\n")
	i.programs("usr/lib64/", "bash", "cat", "id", "ls", "touch")
	i.link("usr/bin/sh", "bash")
	// Fedora's dynamic linker searches /usr/lib64; the one of the test host needs a cache.
	i.copy("etc/ld.so.cache", p.linkerCache(i.files))
	i.build(p, "fedora", nil)
	p.ctl("start", "--set", "Guest=fedora", ".").ok()
	p.wantInside("claude")
	if got := p.guest("command -v sed git; [ ! -e /lib/x86_64-linux-gnu ]"); got != "/run/claude-vm/bin/sed\n/run/claude-vm/bin/git\n" {
		t.Errorf("programs of the guest: %s", got)
	}
}

// linkerCache returns a file that ldconfig has made for the libraries in usr/lib64.
func (p *project) linkerCache(files []ocilayout.File) string {
	p.t.Helper()
	root := filepath.Join(filepath.Dir(p.dir), "root")
	for _, f := range files {
		if strings.HasPrefix(f.Name, "usr/lib64/") {
			writeFile(filepath.Join(root, f.Name), f.Text)
		}
	}
	writeFile(filepath.Join(root, "etc/ld.so.conf"), "/usr/lib64\n")
	p.command("unshare", "--map-root-user", "/usr/sbin/ldconfig", "-r", root).ok()
	return filepath.Join(root, "etc/ld.so.cache")
}

// testStaticImage has one program, and not even a shell, a passwd or an /etc.
func testStaticImage(t *testing.T) {
	p := newProject(t, "static")
	i := imageTree{t: t}
	i.copy("app", "/usr/local/bin/claude-vm-ctl")
	i.build(p, "static", nil)
	p.ctl("start", "--set", "Guest=static", ".").ok()
	p.wantInside("claude")
	if got := p.guest("/app --version"); got != p.ctl("--version").stdout {
		t.Errorf("the program of the image: %s", got)
	}
}
