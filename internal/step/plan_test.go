package step

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/vm"
)

// testTree runs a script with git in a new directory. It returns the directory and the paths
// of a user whose home is in it.
func testTree(t *testing.T, script string) (string, instance.Paths) {
	t.Helper()
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-euc", "mkdir -p home/me run\n"+script)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "HOME="+root, "GIT_CONFIG_NOSYSTEM=1", "GIT_AUTHOR_NAME=A", "GIT_AUTHOR_EMAIL=a@example.org",
		"GIT_COMMITTER_NAME=A", "GIT_COMMITTER_EMAIL=a@example.org", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=protocol.file.allow", "GIT_CONFIG_VALUE_0=always")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return root, instance.Paths{Home: root + "/home/me", Runtime: root + "/run", State: root + "/home/me/state"}
}

// TestPlan checks what is shared and protected in the layouts of git repositories.
func TestPlan(t *testing.T) {
	const (
		repository = "git init -q m; cd m; git commit -q --allow-empty -m x; "
		protected  = ".git rw, .git/config ro, .git/hooks ro"
	)
	for name, tt := range map[string]struct {
		script   string
		settings func(v *vm.VM, root string)
		want     string // lines; ROOT is the directory
	}{
		"no repository": {script: "mkdir w", want: "work ROOT/w"},
		"repository":    {script: "git init -q w", want: "work ROOT/w: " + protected + "\nworktrees of ROOT/w/.git"},
		"nothing protected": {
			script:   "git init -q w",
			settings: func(v *vm.VM, root string) { v.ReadOnly = nil },
			want:     "work ROOT/w\nworktrees of ROOT/w/.git",
		},
		"bare repository": {script: "git init -q --bare w", want: "work ROOT/w: config ro, hooks ro\nworktrees of ROOT/w"},
		"linked worktree": {
			script: repository + "git worktree add -q ../w",
			want: "work ROOT/w: .git ro\n" +
				"git ROOT/m/.git: config ro, hooks ro, worktrees rw, worktrees/w rw, worktrees/w/commondir ro, worktrees/w/gitdir ro\n" +
				"worktrees of ROOT/m/.git",
		},
		"linked worktree, nothing protected": {
			script:   repository + "git worktree add -q ../w",
			settings: func(v *vm.VM, root string) { v.ReadOnly = nil },
			want:     "work ROOT/w\ngit ROOT/m/.git\nworktrees of ROOT/m/.git",
		},
		"linked worktree, all read-only": {
			script:   repository + "git worktree add -q ../w",
			settings: func(v *vm.VM, root string) { v.ReadOnly = []string{"."} },
			want:     "work ROOT/w: . ro\ngit ROOT/m/.git: . ro\nworktrees of ROOT/m/.git",
		},
		"linked worktree, hidden": {
			script:   repository + "git worktree add -q ../w",
			settings: func(v *vm.VM, root string) { v.Hide = []string{".git"} },
			want:     "work ROOT/w: .git hidden",
		},
		"patterns": {
			script:   "git init -q w; mkdir -p w/a/b; touch w/.env w/a/.env w/a/b/x.pem w/.env.example; ln -s a/b/real w/y.key; touch w/a/b/real",
			settings: func(v *vm.VM, root string) { v.Hide = []string{"@secrets", "!a/.env", "a/gone"} },
			want: "work ROOT/w: .env hidden, .git rw, .git/config ro, .git/hooks ro, a rw, a/b rw, a/b/real hidden, a/b/x.pem hidden, y.key hidden\n" +
				"worktrees of ROOT/w/.git",
		},
		"worktree in the git directory": {
			script: "git init -q m; git -C m commit -q --allow-empty -m x; git clone -q --bare m r; git -C r worktree add -q ../v; git -C r worktree move ../v x; ln -s r/x w",
			want: "work ROOT/r/x: .git ro\n" +
				"git ROOT/r: config ro, hooks ro, worktrees rw, worktrees/v rw, worktrees/v/commondir ro, worktrees/v/gitdir ro, x hidden\n" +
				"worktrees of ROOT/r",
		},
		"main worktree of linked ones": {
			script: "git init -q w; cd w; git commit -q --allow-empty -m x; git worktree add -q ../v",
			want: "work ROOT/w: " + protected + ", .git/worktrees rw, .git/worktrees/v rw, .git/worktrees/v/commondir ro, .git/worktrees/v/gitdir ro\n" +
				"worktrees of ROOT/w/.git",
		},
		"worktrees in the work directory can be removed": {
			script: "git init -q w; cd w; git commit -q --allow-empty -m x; git worktree add -q .claude/worktrees/v",
			want:   "work ROOT/w: " + protected + "\nworktrees of ROOT/w/.git",
		},
		"sparse checkout": {
			script: "git init -q w; cd w; git commit -q --allow-empty -m x; git sparse-checkout set x",
			want:   "work ROOT/w: .git rw, .git/config ro, .git/config.worktree ro, .git/hooks ro\nworktrees of ROOT/w/.git",
		},
		"superproject": {
			script: repository + "cd ..; git init -q w; cd w; git submodule -q add ../m deep/sub",
			want: "work ROOT/w: .git rw, .git/config ro, .git/hooks ro, .git/modules rw, .git/modules/deep rw, .git/modules/deep/sub rw, " +
				".git/modules/deep/sub/config ro, .git/modules/deep/sub/hooks ro\nworktrees of ROOT/w/.git",
		},
		"link to a repository's settings": {
			script: repository + "git worktree add -q ../w; echo x >.git/vs; ln -s ../m/.git/vs ../w/.vscode",
			want: "work ROOT/w: .git ro, .vscode ro\n" +
				"git ROOT/m/.git: config ro, hooks ro, vs ro, worktrees rw, worktrees/w rw, worktrees/w/commondir ro, worktrees/w/gitdir ro\n" +
				"worktrees of ROOT/m/.git",
		},
		"a directory that is no git directory as alternates": {
			script: "git init -q w; mkdir -p home/me/.ssh; echo ../../../home/me/.ssh >w/.git/objects/info/alternates",
			want:   "work ROOT/w: " + protected + "\nworktrees of ROOT/w/.git",
		},
		"submodule": {
			script: repository + "cd ..; git init -q s; cd s; git submodule -q add ../m sub; ln -s s/sub ../w",
			want:   "work ROOT/s/sub: .git ro\ngit ROOT/s/.git/modules/sub: config ro, hooks ro\nworktrees of ROOT/s/.git/modules/sub",
		},
		"git directory in a subdirectory": {
			script: "git init -q --bare w/.bare; echo gitdir: ./.bare >w/.git",
			want:   "work ROOT/w: .bare rw, .bare/config ro, .bare/hooks ro, .git ro\nworktrees of ROOT/w/.bare",
		},
		"git directory elsewhere": {
			script: "git init -q --separate-git-dir=g w",
			want: "work ROOT/w: .git ro\nwarning: git does not work in the VM: ROOT/w/.git refers to ROOT/g, which is not shared " +
				"because it does not refer back, or has other files; fix: claude-vm-ctl start --mount ROOT/g:ROOT/g ROOT/w",
		},
		"git directory elsewhere, mounted": {
			script:   "git init -q --separate-git-dir=g w",
			settings: func(v *vm.VM, root string) { v.Mounts = []vm.Mount{{Host: root + "/g", Guest: root + "/g"}} },
			want:     "work ROOT/w: .git ro\nrw0 ROOT/g: config ro, hooks ro\nworktrees of ROOT/g",
		},
		"link": {
			script: repository + "mkdir ../w; ln -s ../m/.git ../w/.git",
			want: "work ROOT/w: .git ro\nwarning: git does not work in the VM: ROOT/w/.git refers to ROOT/m/.git, which is not shared " +
				"because it does not refer back, or has other files; fix: claude-vm-ctl start --mount ROOT/m/.git:ROOT/m/.git ROOT/w",
		},
		"keys in place of a git directory": {
			script: "mkdir -p w home/me/.ssh; touch home/me/.ssh/id; ln -s ../home/me/.ssh w/.git",
			want:   "work ROOT/w: .git ro\nwarning: git does not work in the VM, and ROOT/w/.git refers to no git directory",
		},
		"home in place of a git directory": {
			script: "git init -q --bare home/me; git -C home/me config core.worktree ROOT/w; mkdir w; echo gitdir: ../home/me >w/.git; " +
				"git config -f home/me/config core.worktree ../../w",
			want: "work ROOT/w: .git ro\nwarning: git does not work in the VM: refusing to share ROOT/home/me with a VM: it is your home directory, with your keys in it",
		},
		"alternates": {
			script: repository + "cd ..; git clone -q --shared m w",
			want: "work ROOT/w: " + protected + "\nworktrees of ROOT/w/.git\nwarning: git does not work in the VM: ROOT/w/.git uses objects in ROOT/m/.git/objects, which is not shared; " +
				"fix: claude-vm-ctl start --mount ROOT/m/.git/objects:ROOT/m/.git/objects:ro ROOT/w",
		},
		"alternates, mounted": {
			script: repository + "cd ..; git clone -q --shared m w",
			settings: func(v *vm.VM, root string) {
				v.Mounts = []vm.Mount{{Host: root + "/m/.git", Guest: root + "/m/.git", ReadOnly: true}}
			},
			want: "work ROOT/w: " + protected + "\nro0 ROOT/m/.git\nworktrees of ROOT/w/.git",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root, paths := testTree(t, tt.script)
			v := vm.Default()
			if tt.settings != nil {
				tt.settings(&v, root)
			}
			dir, err := filepath.EvalSymlinks(root + "/w")
			if err != nil {
				t.Fatal(err)
			}
			p, err := newPlan(t.Context(), paths, "x", dir, v)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, strings.ReplaceAll(p.text(), root, "ROOT")); diff != "" {
				t.Errorf("mismatch (-want +got):\n%s", diff)
			}
		})
	}
}

func (p *plan) text() string {
	var lines []string
	for _, s := range p.shares {
		line := s.Name + " " + s.Path
		for i, m := range s.Mounts {
			line += map[bool]string{true: ": ", false: ", "}[i == 0] + m.Path + " " +
				strings.NewReplacer("read-write", "rw", "read-only", "ro").Replace(string(m.Mode))
		}
		lines = append(lines, line)
	}
	for _, dir := range p.gitDirectories {
		lines = append(lines, "worktrees of "+dir)
	}
	for _, w := range p.warnings {
		lines = append(lines, "warning: "+w)
	}
	return strings.Join(lines, "\n")
}

// TestPlanHome checks that the state directory can be a link.
func TestPlanHome(t *testing.T) {
	root, paths := testTree(t, "mkdir -p w other; ln -s ../../other home/me/state")
	v := vm.Default()
	v.Home = "user"
	p, err := newPlan(t.Context(), paths, "x", root+"/w", v)
	if err != nil {
		t.Fatal(err)
	}
	want := "work ROOT/w\nhome ROOT/other/claude-vm/user"
	if diff := cmp.Diff(want, strings.ReplaceAll(p.text(), root, "ROOT")); diff != "" {
		t.Errorf("mismatch (-want +got):\n%s", diff)
	}
}

// TestPlanRefusesOverlap checks that a Mount= cannot reach the work directory through a
// symbolic link. (Without a link, vm.Validate has already refused it.)
func TestPlanRefusesOverlap(t *testing.T) {
	root, paths := testTree(t, "mkdir -p srv/web/sub; ln -s srv above; ln -s srv/web same; ln -s srv/web/sub below")
	for name, target := range map[string]string{"above": "/srv", "same": "/srv/web", "below": "/srv/web/sub"} {
		v := vm.Default()
		v.Mounts = []vm.Mount{{Host: filepath.Join(root, name), Guest: "/mnt"}}
		_, err := newPlan(t.Context(), paths, "x", root+"/srv/web", v)
		want := fmt.Sprintf("Mount=%s: overlaps the work directory and would bypass its ReadOnly= and Hide=", root+target)
		if err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
}
