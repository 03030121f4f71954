"""Systems in which people approve: Jira, ServiceNow, GitHub, Credo AI."""
