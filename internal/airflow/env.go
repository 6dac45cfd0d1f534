package airflow

// Names of the environment variables that carry the backend's configuration in Airflow.
const (
	EnvBackend = "AIRFLOW__SECRETS__BACKEND"
	EnvKwargs  = "AIRFLOW__SECRETS__BACKEND_KWARGS"
	// EnvKwargPrefix and an upper-case key carry one kwarg as plain text, above the JSON (Airflow 3.2).
	EnvKwargPrefix = "AIRFLOW__SECRETS__BACKEND_KWARG__"

	// The same for the workers of Airflow 3, which ask this backend first
	// (https://airflow.apache.org/docs/apache-airflow/stable/configurations-ref.html#secrets-backend).
	EnvWorkersBackend     = "AIRFLOW__WORKERS__SECRETS_BACKEND"
	EnvWorkersKwargs      = "AIRFLOW__WORKERS__SECRETS_BACKEND_KWARGS"
	EnvWorkersKwargPrefix = "AIRFLOW__WORKERS__SECRETS_BACKEND_KWARG__"
)

// Backend classes that read secrets from Key Vault with the same kwargs.
const (
	// AirlockBackend asks the local agent.
	AirlockBackend = "airlock_airflow.AirlockBackend"
	// AzureBackend is the official one, of apache-airflow-providers-microsoft-azure.
	AzureBackend = "airflow.providers.microsoft.azure.secrets.key_vault.AzureKeyVaultBackend"
)
