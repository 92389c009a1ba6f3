package guard

import (
	"os"
	"path/filepath"
	"testing"
)

// TestLinked changes what links of the project refer to, whose names no rule selects.
func TestLinked(t *testing.T) {
	w := newTree(t)
	outside := t.TempDir()
	for name, target := range map[string]string{
		"CLAUDE.md": "docs/agents.txt", ".pre-commit-config.yaml": filepath.Join(w.dir, "tools/hooks.yaml"), ".husky": "tools/husky",
		"sub/.idea": "../tools/editor", ".fleet": "..", ".zed": ".", "tools/editor/.vscode": "../editor", // which contain them
		"Makefile": outside + "/x", ".github": outside, "package.json": "nowhere", // not the guest's
		"mod.git/hooks": "../tools/git", "lib.git/info": "../tools/git",
	} {
		w.must(os.MkdirAll(filepath.Dir(filepath.Join(w.dir, name)), 0o700))
		w.must(os.Symlink(target, filepath.Join(w.dir, name)))
	}
	for _, name := range []string{"docs/agents.txt", "tools/hooks.yaml", "tools/husky/pre-commit", "tools/editor/run", "tools/git/pre-commit", "other"} {
		w.write(name, "old")
	}
	for _, git := range []string{"mod.git", "lib.git"} {
		w.write(git+"/HEAD", "ref: refs/heads/main\n")
		w.write(git+"/objects/info/packs", "")
		w.write(git+"/refs/heads/main", "")
	}
	w.must(os.WriteFile(filepath.Join(outside, "x"), nil, 0o600))
	w.start()
	w.want("nothing was changed", w.end())
	w.start()
	for _, name := range []string{"docs/agents.txt", "tools/hooks.yaml", "tools/husky/pre-commit", "tools/husky/pre-push", "tools/editor/run", "tools/git/pre-commit", "other"} {
		w.write(name, "planted")
	}
	w.must(os.WriteFile(filepath.Join(outside, "x"), []byte("by the host"), 0o600))
	w.want("planted", w.end(), "changed .husky/pre-commit", "changed .pre-commit-config.yaml", "changed CLAUDE.md",
		"changed mod.git/hooks/pre-commit", "changed sub/.idea/run", "new .husky/pre-push")
}
