package manager

import "context"

// Start starts a unit and waits for the job. It returns the job's result: "done" or a
// reason such as "failed", "timeout" or "dependency".
func (m *Manager) Start(ctx context.Context, name string) (string, error) {
	return m.job(ctx, func(ch chan<- string) (int, error) { return m.units.StartUnitContext(ctx, name, "replace", ch) })
}

// Restart restarts a unit, or starts it if it is not active, and waits for the job.
func (m *Manager) Restart(ctx context.Context, name string) (string, error) {
	return m.job(ctx, func(ch chan<- string) (int, error) { return m.units.RestartUnitContext(ctx, name, "replace", ch) })
}

// QueueStart queues a start of a unit, and does not wait for the job.
func (m *Manager) QueueStart(ctx context.Context, name string) error {
	_, err := m.units.StartUnitContext(ctx, name, "replace", nil)
	return m.orLost(err)
}

// QueueRestart queues a restart of a unit, and does not wait for the job. If a job is starting the unit,
// it becomes this job, and a caller that waits for it waits for the restart.
func (m *Manager) QueueRestart(ctx context.Context, name string) error {
	_, err := m.units.RestartUnitContext(ctx, name, "replace", nil)
	return m.orLost(err)
}

// TryRestart queues a restart of a unit if it is active, and does not wait for the job.
func (m *Manager) TryRestart(ctx context.Context, name string) error {
	_, err := m.units.TryRestartUnitContext(ctx, name, "replace", nil)
	return m.orLost(err)
}

// ReloadUnit makes a service read its configuration again.
func (m *Manager) ReloadUnit(ctx context.Context, name string) error {
	_, err := m.units.ReloadUnitContext(ctx, name, "replace", nil)
	return m.orLost(err)
}

// Stop stops a unit and waits for the job. It returns the job's result, which is "done"
// for a unit that is not loaded.
func (m *Manager) Stop(ctx context.Context, name string) (string, error) {
	return m.job(ctx, func(ch chan<- string) (int, error) { return m.units.StopUnitContext(ctx, name, "replace", ch) })
}

// Cancel stops a unit without waiting for the job. It cancels a running start job.
func (m *Manager) Cancel(ctx context.Context, name string) error {
	_, err := m.units.StopUnitContext(ctx, name, "replace", nil)
	return m.orLost(err)
}

// job queues a job with call, waits until it is done, and returns its result.
func (m *Manager) job(ctx context.Context, call func(chan<- string) (int, error)) (string, error) {
	done := make(chan string, 1)
	if _, err := call(done); err != nil {
		return "", m.orLost(err)
	}
	select {
	case result := <-done:
		return result, nil
	case <-m.calls.Context().Done():
		return "", ErrLost
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}
