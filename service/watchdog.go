package service

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// Heartbeat is called by the loop. It tells the service manager, as often as that wants
// to be told (WatchdogSec= of systemd.service(5), KEP-4564), that the loop is alive,
// until ctx ends. It returns at once where nobody wants to know.
//
// alive returns nil when it has seen the loop work, or why it has not until its context
// ended. A loop that it has nothing good to say of is ended and started again by the
// service manager; its pods live on.
func Heartbeat(ctx context.Context, alive func(context.Context) error, log *slog.Logger) error {
	patience, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return fmt.Errorf("read how often to tell that the loop is alive: %w", err)
	}
	if patience == 0 {
		return nil
	}
	beat := time.NewTicker(patience / 2) // sd_watchdog_enabled(3)
	defer beat.Stop()
	for {
		if err := tellAlive(ctx, alive, patience/2); err != nil && ctx.Err() == nil {
			log.LogAttrs(ctx, slog.LevelError, "the loop may not be alive: the service manager is not told that it is",
				slog.Any("err", err))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-beat.C:
		}
	}
}

// tellAlive tells that the loop is alive if it is seen to be within that time.
func tellAlive(ctx context.Context, alive func(context.Context) error, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	if err := alive(ctx); err != nil {
		return err
	}
	_, err := daemon.SdNotify(false, daemon.SdNotifyWatchdog)
	return err
}
