//go:build e2e

package e2e

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"
)

// BenchmarkClaude reports the time, in seconds, to Claude's first screen without a VM, and in QEMU's emulation
// of a process, for which the host's kernel makes the system calls: the guest of a VM without KVM cannot show it
// sooner after its boot, or after a resume, since QEMU does not store what it has translated.
func BenchmarkClaude(b *testing.B) {
	p := bench(b)
	p.start()
	p.guest("cp $(readlink -f $(command -v claude)) claude")
	p.systemctl("stop", p.unit()).ok()
	home := filepath.Join(p.dir, "home")
	show := func(emulator string) time.Duration {
		p.command("rm", "-rf", home)
		writeFile(filepath.Join(home, ".claude.json"), fmt.Sprintf(`{"hasCompletedOnboarding": true, "projects": {%q: {"hasTrustDialogAccepted": true}},
			"customApiKeyResponses": {"approved": [%q]}}`, p.dir, apiKey[len(apiKey)-20:]))
		writeFile(filepath.Join(home, ".claude/settings.json"), `{"skipDangerousModePermissionPrompt": true}`)
		began := time.Now()
		e := p.terminal("bench", 100, 30, fmt.Sprintf("cd %s; env -i PATH=$PATH TERM=$TERM HOME=%s ANTHROPIC_API_KEY=%s ANTHROPIC_BASE_URL=http://127.0.0.1:%d "+
			"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1 DISABLE_AUTOUPDATER=1 %s ./claude --dangerously-skip-permissions", p.dir, home, apiKey, apiPort, emulator))
		e.shows(ready)
		took := time.Since(began)
		e.close()
		return took
	}
	var native, emulated time.Duration
	for b.Loop() {
		native += show("")
		emulated += show("taskset --cpu-list 0 qemu-x86_64") // a guest has one processor, too
	}
	b.ReportMetric(native.Seconds()/float64(b.N), "native-s")
	b.ReportMetric(emulated.Seconds()/float64(b.N), "emulated-s")
}
