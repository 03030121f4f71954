"""Promotions as steps of Airflow and Kubeflow pipelines. Each module needs its orchestrator installed."""
