// Package completion tests the completion scripts of bash, zsh and fish.
package completion

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var bin string // directory of the program

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	bin = dir
	if out, err := exec.Command("go", "build", "-o", dir+"/claude-vm-ctl", "../cmd/claude-vm-ctl").CombinedOutput(); err != nil {
		panic(string(out))
	}
	return m.Run()
}

// shell prepares what completions need: the program in $PATH, a home directory with a
// .vm file, a running VM, a working directory. There is no user manager.
func shell(t *testing.T, name string) (run func(script string, args ...string) string) {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil && os.Getenv("CI") == "" {
		t.Skipf("%s is not installed", name)
	}
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, name := range []string{"home/.config/claude-vm/web.vm", "home/.local/share/claude-vm/guests/node-22/image.json", "home/.cache/claude-vm/snapshot/00112233445566778899aabbccddeeff/memory", "run/claude-vm/srv-shop/status", "run/claude-vm/.srv-shop.record", "work/file", "work/sub dir/file", "work/src/file"} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return func(script string, args ...string) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		cmd := exec.CommandContext(ctx, path, append([]string{"-c", script, name}, args...)...)
		cmd.Dir = filepath.Join(dir, "work")
		cmd.WaitDelay = time.Second
		cmd.Env = []string{"PATH=" + bin + ":" + os.Getenv("PATH"), "HOME=" + dir + "/home", "XDG_RUNTIME_DIR=" + dir + "/run", "TERM=dumb", "LC_ALL=C.UTF-8"}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v: %s", args, err, out)
		}
		return strings.TrimRight(string(out), "\n")
	}
}

// lines are command lines without the program's name, and the sorted completions of the
// last word in bash and fish. TestZsh has its own list, of lines with one completion.
var lines = []struct{ typed, bash, fish string }{
	{"", "attach doctor edit forward generate guard guest help id kill list login logout logs network restart run shell snapshot ssh-config start status stop uninstall", "the same"},
	{"st", "start status stop", "the same"},
	{"nonsense", "", ""},
	{"--ver", "--version", "--version"},
	{"doctor --", "--help --json --version", "the same"},
	{"doctor ", "", ""},
	{"guest ", "build list rm update", "build list rm update"},
	{"guest rm ", "node-22", "node-22"},
	{"snapshot ", "list make rm", "the same"},
	{"snapshot rm ", "00112233445566778899aabbccddeeff", "the same"},
	{"snapshot make we", "directories web", "web"},
	{"guest build --from d", "devcontainer directories", "devcontainer"},
	{"run --netw", "--network", "--network"},
	{"run --network ", "allow internet none", "allow internet none"},
	{"run --network=n", "none", "--network=none"},
	{"run --insecure=No", "NoNewPrivileges", "--insecure=NoNewPrivileges"},
	{"run --home=p", "project", "--home=project"},
	{"run --memory ", "", ""},
	{"run --set ", "", ""},
	{"logs --output c", "cat", "cat"},
	{"run ", "/srv/shop directories web", "/srv/shop src/ sub dir/ web"},
	{"run --memory 4G w", "directories web", "web"},
	{"run s", "directories", "src/ sub dir/"},
	{"run . ", "", ""},
	{"edit w", "directories web", "web"},
	{"shell . -- f", "files", "file"},
	{"shell -- ", "files", "file src/ sub dir/"},
}

// TestBash calls the function as bash does, which also splits words at equals signs.
func TestBash(t *testing.T) {
	run := shell(t, "bash")
	here, err := filepath.Abs("claude-vm-ctl.bash")
	if err != nil {
		t.Fatal(err)
	}
	const script = `source "$1"
compopt() { [[ $* != *plusdirs* ]] || echo directories; [[ $* != *default* ]] || echo files; }
COMP_WORDS=(claude-vm-ctl "${@:2}") COMP_CWORD=$(($# - 1))
_claude_vm_ctl
printf '%s\n' "${COMPREPLY[@]}"`
	for _, l := range lines {
		words := strings.Split(strings.ReplaceAll(l.typed, "=", " = "), " ")
		got := strings.Fields(run("set -o pipefail; {\n"+script+"\n} | LC_ALL=C sort", append([]string{here}, words...)...))
		if diff := cmp.Diff(strings.Fields(l.bash), got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", l.typed, diff)
		}
	}
}

func TestFish(t *testing.T) {
	run := shell(t, "fish")
	here, err := filepath.Abs("claude-vm-ctl.fish")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range lines {
		want := l.fish
		if want == "the same" {
			want = l.bash
		}
		got := run("source $argv[2]; complete -C $argv[3] | LC_ALL=C sort", here, "claude-vm-ctl "+l.typed)
		if got = strings.ReplaceAll(got, "\n", " "); got != want {
			t.Errorf("%q: %q, want %q", l.typed, got, want)
		}
	}
}

// TestZsh types lines and tabs into an interactive zsh.
func TestZsh(t *testing.T) {
	run := shell(t, "zsh")
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	const script = `zmodload zsh/zpty
zpty z zsh -f -i
zpty -w z "PROMPT= fpath=(${(q)1} \$fpath); autoload -Uz compinit; compinit -u -D"
zpty -w z 'say() { print -r -- "<$BUFFER>"; BUFFER= }; zle -N say; bindkey ^X say; print RE""ADY'
zpty -r z out '*READY*'
for line in "${@:2}"; do
	zpty -w -n z "claude-vm-ctl $line"$'\t\x18'
	zpty -r z out '*<*>*'
	print -r -- "${${out##*<claude-vm-ctl }%%>*}"
done
zpty -d z`
	var typed, want []string
	for _, c := range [][2]string{
		{"res", "restart "},
		{"nonsense", "nonsense"},
		{"--ver", "--version "},
		{"doctor --j", "doctor --json "},
		{"doctor s", "doctor s"},
		{"run --netw", "run --network "},
		{"run --network no", "run --network none "},
		{"run --network=no", "run --network=none "},
		{"run we", "run web "},
		{"run /srv/sh", "run /srv/shop "},
		{"run --memory 4G sr", "run --memory 4G src/"},
		{"run sub", `run sub\ dir/`},
		{"run fi", "run fi"}, // not a directory
		{"shell . -- fi", "shell . -- file "},
	} {
		typed, want = append(typed, c[0]), append(want, c[1])
	}
	got := strings.Split(run(script, append([]string{here}, typed...)...), "\n")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%q (-want +got):\n%s", typed, diff)
	}
}
