// One member of an election by Kubernetes' own client-go, for `npm run bench -- client-go`. It prints a line of JSON
// when it becomes the leader, and when it no longer is.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"os"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordination "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

func say(event string) {
	line, _ := json.Marshal(map[string]any{"event": event, "atMs": time.Now().UnixMilli()})
	os.Stdout.Write(append(line, '\n'))
}

func main() {
	kubeconfig := flag.String("kubeconfig", "", "")
	namespace := flag.String("namespace", "", "")
	name := flag.String("lease", "", "")
	identity := flag.String("identity", "", "")
	lease := flag.Duration("lease-duration", 15*time.Second, "")
	deadline := flag.Duration("renew-deadline", 10*time.Second, "")
	retry := flag.Duration("retry-period", 2*time.Second, "")
	flag.Parse()

	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		panic(err)
	}
	// The laboratory's API speaks JSON only.
	config.ContentType, config.AcceptContentTypes = "application/json", "application/json"
	client := coordination.NewForConfigOrDie(config)
	leaderelection.RunOrDie(context.Background(), leaderelection.LeaderElectionConfig{
		Lock: &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Name: *name, Namespace: *namespace},
			Client:     client,
			LockConfig: resourcelock.ResourceLockConfig{Identity: *identity},
		},
		LeaseDuration: *lease,
		RenewDeadline: *deadline,
		RetryPeriod:   *retry,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(context.Context) { say("acquired") },
			OnStoppedLeading: func() { say("lost") },
			OnNewLeader:      func(who string) { say("sees " + who) },
		},
	})
}
