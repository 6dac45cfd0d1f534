// Command airlock is the passage between Apache Airflow and Azure Key Vault.
package main

import (
	"os"

	"github.com/airlock-secrets/airlock/internal/cli"
)

func main() { os.Exit(cli.Main(cli.System())) }
